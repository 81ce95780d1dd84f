"""The README: its blocks run as printed, in their order, and name what is there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from samples import ROOT
from spacy.util import load_model_from_config
from thinc.api import Config

README = (ROOT / "README.md").read_text(encoding="utf8")
# Blocks marked `sh` install or take long: `scripts/test` runs this test, CI runs the others.
BLOCKS = re.findall(r"^```(bash|python)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)

# What spaCy's configs hold beside the encoder.
TOK2VEC = """
[components.tok2vec.model]
@architectures = "spacy.Tok2Vec.v2"

[components.tok2vec.model.embed]
@architectures = "spacy.MultiHashEmbed.v2"
width = 96
attrs = ["NORM", "SHAPE"]
rows = [500, 250]
include_static_vectors = false

"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that looks like the checkout, to leave files in."""
    place = tmp_path_factory.mktemp("checkout")
    for name in ("configs", "scripts", "bigru_tagger"):
        (place / name).symlink_to(ROOT / name)
    return place


def test_there_are_blocks_of_all_three_ways_of_use() -> None:
    text = "\n".join(block for _, block in BLOCKS)
    for way in ("spacy train", 'nlp.add_pipe("bigru_ner")', "scripts/evaluate.py"):
        assert way in text


@pytest.mark.parametrize(
    ("language", "block"), BLOCKS, ids=[f"{i}-{language}" for i, (language, _) in enumerate(BLOCKS)]
)
def test_block_runs(checkout: Path, language: str, block: str) -> None:
    command = ["bash", "-euc", block] if language == "bash" else [sys.executable, "-c", block]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    result = subprocess.run(
        command,
        cwd=checkout,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    if "Maria Silva" in block:
        assert "('Maria Silva', 'PER', " in result.stdout


def test_the_config_of_a_component_can_be_pasted() -> None:
    blocks = re.findall(r"^```ini\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    component, dictionary, encoder, transformer = blocks
    start = '[nlp]\nlang = "en"\npipeline = ["{0}"]\n[components]\n[components.{0}]\n'
    text = start.format("ner") + 'factory = "bigru_ner"\n' + component
    nlp = load_model_from_config(Config().from_str(text), auto_fill=True)
    assert nlp.config["components"]["ner"]["model"]["hidden"] == 256
    assert len(nlp.config["components"]["ner"]["model"]["embed"]) == 3
    for block in (dictionary, transformer):
        nlp = load_model_from_config(Config().from_str(f"{text}\n{block}"), auto_fill=True)
        assert len(nlp.config["components"]["ner"]["model"]["embed"]) == 4
    text = start.format("tok2vec") + 'factory = "tok2vec"\n' + TOK2VEC + encoder
    nlp = load_model_from_config(Config().from_str(text), auto_fill=True)
    assert nlp.get_pipe("tok2vec").model.get_dim("nO") == 96


def test_every_path_it_names_is_there() -> None:
    for target in re.findall(r"\]\(((?!http)[^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_every_heading_it_links_is_there() -> None:
    text = re.sub(r"^```.*?^```$", "", README, flags=re.MULTILINE | re.DOTALL)
    # As GitHub makes anchors of headings.
    anchors = {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    }
    targets = set(re.findall(r"\]\(#([^)]+)\)", text))
    assert len(targets) > 15
    assert targets <= anchors, targets - anchors
