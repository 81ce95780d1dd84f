import importlib.util
import json
import re
from pathlib import Path

import pytest
import spacy
from samples import SENTENCES, TINY, build, train
from spacy.lang.en import English
from typer.testing import CliRunner

from bigru_tagger.cli import app

SAMPLE = "bigru_tagger/sample"


def run(*arguments, fails=False):
    result = CliRunner().invoke(app, ["evaluate", *map(str, arguments)])
    assert result.exit_code == (1 if fails else 0), result.output
    return result.output


def write_columns(path):
    """`SENTENCES` as token, tag, chunk and entity."""
    lines = []
    for text, ents, chunks, tags in SENTENCES:
        words = text.split()
        columns = [words, tags.split()]
        for spans in (chunks, ents):
            column = ["O"] * len(words)
            for start, end, label in spans:
                column[start:end] = [f"B-{label}"] + [f"I-{label}"] * (end - start - 1)
            columns.append(column)
        lines += [" ".join(row) for row in zip(*columns, strict=True)] + [""]
    path.write_text("\n".join(lines), encoding="utf8")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A trained recogniser and chunker, a rule-based pipeline, a tagger, and gold data."""
    path = tmp_path_factory.mktemp("report")
    nlp = build("bigru_ner", "bigru_chunker", model=TINY)
    train(nlp, steps=3)
    nlp.to_disk(path / "both")
    rules = English()
    rules.add_pipe("entity_ruler").add_patterns([{"label": "LOC", "pattern": "London"}])
    rules.to_disk(path / "rules")
    tagger = English()
    tagger.add_pipe("attribute_ruler").add([[{"IS_ALPHA": True}]], {"TAG": "X"})
    tagger.to_disk(path / "tagger")
    write_columns(path / "gold.conll")
    return path


def test_entities_and_chunks_in_all_formats(place, tmp_path):
    page, text, numbers = tmp_path / "out.html", tmp_path / "out.md", tmp_path / "out.json"
    data = place / "gold.conll"
    options = ["--train", data, "--report", page, "--report", text, "--json", numbers]
    output = run(place / "both", data, *options)
    content = json.loads(numbers.read_text(encoding="utf8"))
    assert list(content["analysis"]) == ["entities", "chunks"]
    html, markdown = page.read_text(encoding="utf8"), text.read_text(encoding="utf8")
    for layer in ("entities", "chunks"):
        own = content["analysis"][layer]
        assert own["default"]["micro"]["f1"] == content[layer]["default"]["micro"]["f1"]
        assert own["confidence"]["unknown"] == 0
        assert [row["name"] for row in own["by_novelty"]] == ["seen with this type"]
        f1 = f"{own['default']['micro']['f1']:.4f}"
        assert f1 in output
        shown = f"{float(f1) * 100:.2f}"
        assert f"<dt>F1 of {layer}</dt><dd>{shown} " in html
        assert f"- F1 of {layer}: {shown} " in markdown
        assert f'<h2 id="{layer}-errors">All errors: {layer}</h2>' in html
        assert f"## All errors: {layer}" in markdown
    # Each Doc is one sentence here, and the report notes that.
    assert "each Doc is one sentence. If the sentences" in html


def test_a_pipeline_without_components_of_ours(place, tmp_path):
    page = tmp_path / "out.html"
    run(place / "rules", place / "gold.conll", "--report", page)
    html = page.read_text(encoding="utf8")
    assert "There are no predictions with a probability" in html
    assert "give the training data (--train DATA)" in html
    # One of seven is found: London, but not New York City, Ada Lovelace, Babbage, Bob, Eve and
    # Royal Museum.
    assert re.search(r"<dt>precision</dt><dd>100.00 ", html)
    assert re.search(r"<dt>recall</dt><dd>14.29 ", html)
    assert re.search(r"<dt>errors</dt><dd>6 ", html)


def test_the_sample_corpus_with_whole_documents(place, tmp_path):
    text = tmp_path / "out.md"
    run(place / "rules", SAMPLE, "--n-sents", 0, "--report", text)
    markdown = text.read_text(encoding="utf8")
    assert "bootstrap resamples of the 26 annotated Docs. With fewer than 30 Docs" in markdown
    assert "### By position in the Doc" in markdown


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ("none", ["--report", "out.pdf"], "out.pdf must end in .html or .md"),
        ("none", ["--train", "none"], "--train only affects --report and --json"),
        ("tagger", ["--predictions", "{}/out.txt"], "--predictions: there are only tags"),
        ("rules", ["--report", "{}/out.md", "--train", "{}/none.conll"], "none.conll"),
    ],
)
def test_wrong_options_are_errors(place, tmp_path, model, options, message):
    paths = [option.format(tmp_path) for option in options]
    output = run(place / model, place / "gold.conll", *paths, fails=True)
    assert output.splitlines()[-1].startswith("Error: ")
    assert message in output
    assert not list(tmp_path.iterdir())


def test_without_matplotlib(place, tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "bigru_tagger.plots.find_spec", lambda name: None if name == "matplotlib" else find(name)
    )
    paths = tmp_path / "out.html", tmp_path / "out.md"
    options = [option for path in paths for option in ("--report", path)]
    run(place / "rules", place / "gold.conll", *options)
    page, text = (path.read_text(encoding="utf8") for path in paths)
    assert "<svg role" not in page
    assert "left out because matplotlib is not installed: pip install" in page
    assert "All errors" in page
    assert "left out" not in text  # Markdown never has plots


def test_gold_without_entities(place, tmp_path):
    data = tmp_path / "gold.conll"
    data.write_text("Nothing NN O O\nhere RB O O\n", encoding="utf8")
    output = run(place / "rules", data, "--report", tmp_path / "out.md", fails=True)
    assert "The gold data contain" in output


def test_files_of_the_page_are_in_the_package():
    folder = Path(spacy.util.get_package_path("bigru_tagger")) / "report"
    found = sorted(path.name for path in (*folder.glob("assets/*"), *folder.glob("templates/*")))
    assert found == [
        "blocks.html.jinja",
        "report.css",
        "report.html.jinja",
        "report.js",
        "report.md.jinja",
    ]
