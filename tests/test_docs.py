"""The README and the site: their blocks run, their links lead somewhere, nothing is left out."""

import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html import unescape
from importlib.metadata import distribution
from pathlib import Path
from typing import NamedTuple

import pytest
import spacy.cli
import typer
from filelock import FileLock
from samples import ROOT
from spacy.cli._util import app as spacy_app
from spacy.util import load_config, load_model_from_config
from thinc.api import Config
from typer.testing import CliRunner

import bigru_tagger
from bigru_tagger.cli import app

DOCS = ROOT / "docs"
README = ROOT / "README.md"
PAGES = [README, *sorted(DOCS.rglob("*.md"))]
RESULT_PAGES = ("results.md", "transformers.md")
_BLOCK = re.compile(
    r'^```(?P<language>\w+)(?: title="(?P<title>[^"]+)")?\n(?P<text>.*?)^```$',
    re.MULTILINE | re.DOTALL,
)
_REASON = re.compile(r"<!-- not run: [^>]+ -->\n\Z")
_PROGRAMS = {("bigru-tagger",): app, ("python", "-m", "spacy"): spacy_app}
# A model that finds some entities, trained in seconds: each page has a copy in output/my.
QUICK = {
    "paths.clusters": None,
    "components.ner.model.hidden": 64,
    "training.max_steps": 120,
    "training.eval_frequency": 60,
    "training.optimizer.learn_rate.total_steps": 120,
    "training.optimizer.learn_rate.warmup_steps": 10,
    "training.optimizer.learn_rate.initial_rate": 0.01,
}
COMPONENTS = {
    "ner": '[components.ner]\nfactory = "bigru_ner"\n',
    "tok2vec": '[components.tok2vec]\nfactory = "tok2vec"\n',
}
# What a config holds around a block of an embedding or encoder.
MODELS = {
    "ner": """
[components.ner.model]
@architectures = "bigru_tagger.BiGRUTagger.v1"
hidden = 8

[components.ner.model.embed]

""",
    "tok2vec": """
[components.tok2vec.model]
@architectures = "spacy.Tok2Vec.v2"

[components.tok2vec.model.embed]
@architectures = "spacy.MultiHashEmbed.v2"
width = 96
attrs = ["NORM", "SHAPE"]
rows = [500, 250]
include_static_vectors = false

""",
}

# Some of spaCy's commands leave files open.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


class Block(NamedTuple):
    """A fenced block: its language, the file it stands for, its text, and what is above it."""

    language: str
    title: str | None
    text: str
    above: str


def blocks_of(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf8")
    for found in _BLOCK.finditer(text):
        yield Block(found["language"], found["title"], found["text"], text[: found.start()])


@pytest.fixture(scope="session")
def quick_model(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A folder with the trained output/my, made once by whichever worker is first."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "quick_model"
    with FileLock(f"{folder}.lock"):
        if not (folder / "output" / "my" / "model-best" / "meta.json").exists():
            config = ROOT / "configs" / "sample.cfg"
            spacy.cli.train.train(config, folder / "output" / "my", overrides=QUICK)
    return folder


@pytest.fixture
def scratch(quick_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "scratch"
    shutil.copytree(quick_model, folder)
    monkeypatch.chdir(folder)
    return folder


def run_python(text: str) -> None:
    exec(compile(text, "block", "exec"), {"__name__": "__main__"})


def run_bash(text: str) -> None:
    """Run a block's commands: ours and spaCy's in this process, which has imported PyTorch."""
    for command in text.replace("\\\n", " ").splitlines():
        words = shlex.split(command, comments=True)
        target = words[words.index(">") + 1] if ">" in words else None
        for start, program in _PROGRAMS.items():
            if tuple(words[: len(start)]) == start:
                arguments = words[len(start) : words.index(">") if target else None]
                result = CliRunner().invoke(program, arguments)
                assert result.exit_code == 0, (command, result.output, result.exception)
                if target is not None:
                    Path(target).write_text(result.stdout, encoding="utf8")
                break
        else:
            path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
            environment = {**os.environ, "PATH": path}
            subprocess.run(["bash", "-euc", command], env=environment, check=True, timeout=300)


class _Page:
    """The test of a page. A class for each, since `--dist loadscope` deals out whole classes."""

    page: Path

    def test_blocks_run(self, scratch: Path) -> None:
        for language, title, text, _ in blocks_of(self.page):
            if title is not None:
                path = scratch / title
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf8")
            elif language == "bash":
                run_bash(text)
            elif language == "python":
                run_python(text)


def _class_name(page: Path) -> str:
    return "Test" + "".join(part.capitalize() for part in re.findall(r"\w+", page.stem))


for _path in PAGES:
    if any(block.language in ("bash", "python") for block in blocks_of(_path)):
        globals()[_class_name(_path)] = type(_class_name(_path), (_Page,), {"page": _path})


def test_every_way_of_use_is_run() -> None:
    text = "\n".join(
        block.text
        for page in PAGES
        for block in blocks_of(page)
        if block.language in ("bash", "python")
    )
    # The service runs until it is stopped. Its own tests start it.
    names = typer.main.get_command(app).commands.keys() - {"serve"}
    ways = [f"bigru-tagger {name}" for name in names]
    for way in (*ways, "spacy train", 'nlp.add_pipe("bigru_ner")', "nlp.pipe("):
        assert way in text, way


def test_what_is_not_run_has_a_reason() -> None:
    languages = {block.language for page in PAGES for block in blocks_of(page)}
    assert languages == {"bash", "ini", "python", "sh", "text"}
    for page in PAGES:
        for block in blocks_of(page):
            if block.language == "sh":
                assert _REASON.search(block.above), f"{page.name}: {block.text}"


def assert_holds(config: dict, part: dict) -> None:
    """Check that a config has all settings of a part of it, with their values."""
    for key, value in part.items():
        if isinstance(value, dict) and config[key] != value:
            assert_holds(config[key], value)
        else:
            assert config[key] == value, key


def test_configs_can_be_pasted() -> None:
    n_blocks = 0
    for page in PAGES:
        for block in blocks_of(page):
            if block.language != "ini":
                continue
            n_blocks += 1
            path = re.match(r"\[components\.(\w+)\.model(\.\w+)?", block.text)
            assert path is not None, block.text
            name, part = path.groups()
            start = f'[nlp]\nlang = "en"\npipeline = ["{name}"]\n[components]\n{COMPONENTS[name]}'
            around = MODELS[name] if part else ""
            config = Config().from_str(start + around + block.text)
            nlp = load_model_from_config(config, auto_fill=True)
            assert_holds(nlp.config, config)
    assert n_blocks == 4


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub and MkDocs make them."""
    plain = _BLOCK.sub("", text)
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.+)$", plain, re.MULTILINE)
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    text = _BLOCK.sub("", page.read_text(encoding="utf8"))
    for target in re.findall(r"\]\(((?!http)[^)]+)\)", text):
        name, _, anchor = target.partition("#")
        linked = page.parent / name if name else page
        assert linked.exists(), target
        if anchor:
            assert anchor in anchors(linked.read_text(encoding="utf8")), target


@pytest.mark.filterwarnings("ignore:.* the code has changed between the runs")
def test_tables_are_those_of_the_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands on the page of results fill emptied blocks with what is there now."""
    tables = re.compile(r"(<!-- results:\w+ -->\n).*?(<!-- /results -->)", re.DOTALL)
    original = {name: (DOCS / name).read_text(encoding="utf8") for name in RESULT_PAGES}
    (tmp_path / "docs").mkdir()
    for name, text in original.items():
        assert tables.search(text)
        (tmp_path / "docs" / name).write_text(tables.sub(r"\1\2", text), encoding="utf8")
    shutil.copytree(ROOT / "results", tmp_path / "results")
    monkeypatch.chdir(tmp_path)
    commands = (
        command
        for block in blocks_of(DOCS / "results.md")
        for command in block.text.replace("\\\n", " ").splitlines()
        if "--into" in command and block.language == "sh"
    )
    for command in commands:
        program, *arguments = shlex.split(command)
        monkeypatch.setattr(sys, "argv", [program, *arguments])
        with pytest.raises(SystemExit, match=r"^0$"):
            runpy.run_path(str(ROOT / program), run_name="__main__")
    for name, text in original.items():
        assert (tmp_path / "docs" / name).read_text(encoding="utf8") == text


def test_readme_is_short() -> None:
    assert len(README.read_text(encoding="utf8").splitlines()) <= 150


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf8").partition("\nnav:")[2]
    named = re.findall(r"[\w/]+\.md", navigation)
    assert sorted(named) == sorted(page.relative_to(DOCS).as_posix() for page in PAGES[1:])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `scripts/docs` builds it."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return folder


def page_text(site: Path, name: str) -> str:
    html = (site / name).read_text(encoding="utf8")
    return re.sub(r"<[^>]+>", "", html.partition("<article")[2].partition("</article>")[0])


def test_the_reference_has_every_command_and_option(site: Path) -> None:
    text = page_text(site, "reference/cli.html")
    for name, command in typer.main.get_command(app).commands.items():
        assert f"bigru-tagger {name}" in text
        for parameter in command.params:
            shown = getattr(parameter, "metavar", None) or max(parameter.opts, key=len)
            assert shown in text, (name, parameter.name)


def test_the_reference_has_every_setting_of_the_configs(site: Path) -> None:
    text = page_text(site, "reference/config.html")
    names = {
        point.name
        for point in distribution("bigru-tagger").entry_points
        if point.group.startswith(("spacy_", "thinc_"))
    }
    assert len(names) >= 20
    for name in names:
        assert name in text
    for path in (ROOT / "configs").glob("*.cfg"):
        for block in _blocks_of_ours(load_config(path)):
            for setting in block:
                assert setting.startswith(("@", "factory")) or setting in text, (path, setting)


def _blocks_of_ours(config: dict) -> Iterator[dict]:
    registered = (config.get(key, "") for key in (*config, "factory") if key[0] in "@f")
    if any(str(name).startswith(("bigru_tagger.", "bigru_")) for name in registered):
        yield config
    for value in config.values():
        if isinstance(value, dict):
            yield from _blocks_of_ours(value)


def test_the_reference_has_the_public_api(site: Path) -> None:
    text = page_text(site, "reference/python.html")
    assert "BiGRUNer" in text
    page = (ROOT / "docs" / "reference" / "python.md").read_text(encoding="utf8").splitlines()
    for name, module in bigru_tagger._MODULES.items():
        assert name in text
        assert f"::: bigru_tagger.{module}.{name}" in page


def test_the_architecture_shows_the_examples(site: Path) -> None:
    text = page_text(site, "architecture.html")
    examples = sorted((ROOT / "tests" / "examples").glob("own_*.py"))
    assert [path.stem for path in examples] == ["own_decoder", "own_embedding", "own_task"]
    for path in examples:
        first_line = path.read_text(encoding="utf8").splitlines()[0]
        assert first_line in unescape(text), path


def test_pages_need_no_other_host(site: Path) -> None:
    """Pages can be read without a network: they load scripts, styles and pictures of their own."""
    for path in site.rglob("*.html"):
        html = path.read_text(encoding="utf8")
        loaded = re.findall(
            r'<(?:script|img|link(?! rel="canonical"))[^>]+(?:src|href)="([^"]+)"', html
        )
        assert loaded
        assert not [target for target in loaded if target.startswith(("http", "//"))], path
