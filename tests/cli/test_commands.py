"""All spaCy commands that take a config or a pipeline, with a component of this package."""

import json
from pathlib import Path

import pytest
import spacy
from samples import ROOT
from spacy.cli._util import app
from spacy.tokens import DocBin
from typer.testing import CliRunner

from bigru_tagger.corpus.convert import convert

# Some of spaCy's commands leave files open.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

CONFIGS = ROOT / "configs"
NO_CLUSTERS = {"paths.clusters": "null"}  # a million words, seconds to read
SMALL = {
    **NO_CLUSTERS,
    "components.ner.model.hidden": 8,
    "corpora.train.limit": 40,
    "corpora.dev.limit": 20,
    "training.max_steps": 4,
    "training.eval_frequency": 2,
}


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output + repr(result.exception)
    return result.output


def overrides(settings: dict[str, object]) -> list[object]:
    return [part for name, value in settings.items() for part in (f"--{name}", value)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("trained")
    run("train", CONFIGS / "sample.cfg", "--output", output, *overrides(SMALL))
    return output / "model-last"


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("converted")
    convert("bigru_tagger/sample", output, limit=20)
    return output


def test_train_and_evaluate(trained: Path, converted: Path, tmp_path: Path) -> None:
    scores = tmp_path / "scores.json"
    run("evaluate", trained, converted / "test.spacy", "--output", scores)
    found = json.loads(scores.read_text(encoding="utf8"))
    assert 0.0 <= found["ents_f"] <= 1.0
    assert set(found["ents_per_type"]) == {"LOC", "MISC", "ORG", "PER"}


def test_train_on_spacy_files(converted: Path, tmp_path: Path) -> None:
    """`spacy.Corpus.v1` replaces the reader of this package."""
    config = spacy.util.load_config(CONFIGS / "sample.cfg", interpolate=False)
    for split, name in (("train", "train"), ("dev", "validation")):
        path = str(converted / f"{name}.spacy")
        config["corpora"][split] = {"@readers": "spacy.Corpus.v1", "path": path}
    config.to_disk(tmp_path / "spacy.cfg")
    run(
        "train",
        tmp_path / "spacy.cfg",
        "--output",
        tmp_path / "out",
        *overrides({name: value for name, value in SMALL.items() if "limit" not in name}),
    )
    assert spacy.load(tmp_path / "out" / "model-last").get_pipe("ner").labels


def test_benchmark_speed(trained: Path, converted: Path) -> None:
    output = run("benchmark", "speed", trained, converted / "test.spacy", "--batches", 30)
    assert "words/s" in output.lower()


def test_find_threshold(trained: Path, converted: Path) -> None:
    data = converted / "test.spacy"
    output = run("find-threshold", trained, data, "ner", "threshold", "ents_f", "--n_trials", 3)
    assert "ents_f" in output  # the effect of a threshold is tested with the component


def test_debug_config() -> None:
    assert "Config is valid" in run("debug", "config", CONFIGS / "sample.cfg")


def test_debug_data() -> None:
    output = run("debug", "data", CONFIGS / "sample.cfg", *overrides(NO_CLUSTERS))
    assert "616 training docs" in output


def test_debug_model() -> None:
    output = run("debug", "model", CONFIGS / "sample.cfg", "ner", *overrides(SMALL))
    assert "model looks good" in output


def test_debug_profile(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # where spaCy writes its Profile.prof
    texts = tmp_path / "texts.jsonl"
    texts.write_text('{"text": "A ferry left Bergen ."}\n' * 3, encoding="utf8")
    assert "Profile stats" in run("debug", "profile", trained, texts, "--n-texts", 3)


def test_init_config_and_fill_config(tmp_path: Path) -> None:
    config, filled = tmp_path / "config.cfg", tmp_path / "filled.cfg"
    run("init", "config", config, "--pipeline", "bigru_ner", "--lang", "en", "--force")
    assert 'factory = "bigru_ner"' in config.read_text(encoding="utf8")
    run("init", "fill-config", config, filled)
    assert filled.read_text(encoding="utf8").count("bigru_tagger.BiGRUTagger.v1") == 1


def test_init_labels(tmp_path: Path) -> None:
    run("init", "labels", CONFIGS / "sample.cfg", tmp_path, *overrides(NO_CLUSTERS))
    labels = json.loads((tmp_path / "ner.json").read_text(encoding="utf8"))
    assert labels == ["LOC", "MISC", "ORG", "PER"]


def test_init_vectors_and_train_with_them(tmp_path: Path) -> None:
    table = tmp_path / "table.txt"
    table.write_text("2 3\nferry 0.5 1 2\nBergen -1 0 1\n", encoding="utf8")
    run("init", "vectors", "en", table, tmp_path / "vectors")
    settings = {**SMALL, "paths.vectors": tmp_path / "vectors"}
    run("train", CONFIGS / "sample.cfg", "--output", tmp_path / "out", *overrides(settings))
    nlp = spacy.load(tmp_path / "out" / "model-last")
    network = nlp.get_pipe("ner").model.shims[0].network
    assert network.embed["vectors"].width == 3


def test_apply(trained: Path, tmp_path: Path) -> None:
    texts, output = tmp_path / "texts.txt", tmp_path / "tagged.spacy"
    texts.write_text("A ferry left Bergen .\n", encoding="utf8")
    run("apply", trained, texts, output)
    (doc,) = DocBin().from_disk(output).get_docs(spacy.blank("en").vocab)
    assert doc.has_annotation("ENT_IOB")


def test_assemble(trained: Path, tmp_path: Path) -> None:
    config = spacy.util.load_config(trained / "config.cfg", interpolate=False)
    config["components"]["ner"] = {"source": str(trained)}
    config.to_disk(tmp_path / "assemble.cfg")
    run("assemble", tmp_path / "assemble.cfg", tmp_path / "assembled")
    text = "A ferry left Bergen for Stavanger ."
    before, after = spacy.load(trained)(text), spacy.load(tmp_path / "assembled")(text)
    assert [(e.text, e.label_) for e in before.ents] == [(e.text, e.label_) for e in after.ents]


def test_package_requires_this_distribution(trained: Path, tmp_path: Path) -> None:
    run("package", trained, tmp_path, "--build", "none", "--name", "sample")
    (meta,) = tmp_path.glob("en_sample-*/meta.json")
    requirements = json.loads(meta.read_text(encoding="utf8"))["requirements"]
    assert "bigru-tagger>=0.2.0,<0.3.0" in requirements
    (model,) = tmp_path.glob("en_sample-*/en_sample/en_sample-*")
    assert spacy.load(model).pipe_names == ["ner"]
