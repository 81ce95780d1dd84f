"""The command line interface, called with typer's test runner."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import spacy
from samples import TINY, build, read_examples, train
from spacy.language import Language
from spacy.tokens import Doc, DocBin, Span, SpanGroup
from spacy.vocab import Vocab
from typer.testing import CliRunner

from bigru_tagger.cli import app, main
from bigru_tagger.tasks import ENTITIES

SAMPLE = "bigru_tagger/sample"


def run(*arguments: object, fails: bool = False, stdin: str | bytes | None = None) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin)
    assert result.exit_code == (1 if fails else 0), result.output
    return result.output


@pytest.fixture(scope="module")
def ruler(tmp_path_factory: pytest.TempPathFactory) -> Path:
    nlp = spacy.blank("en")
    rules = nlp.add_pipe("entity_ruler")
    rules.add_patterns(
        [{"label": "LOC", "pattern": "Vienna"}, {"label": "LOC", "pattern": "Kenya"}]
    )
    path = tmp_path_factory.mktemp("ruler") / "model"
    nlp.to_disk(path)
    return path


LIGHT = """
import json, sys
for name in ("torch", "datasets", "scipy", "seqeval", "tokenizers", "transformers"):
    sys.modules[name] = None  # as if it were not installed
from bigru_tagger.cli import main
for arguments in json.loads(sys.argv[1]):
    sys.argv = ["bigru-tagger", *arguments]
    try:
        main()
    except SystemExit as ended:
        print("status", ended.code, file=sys.stderr)
"""


def test_the_light_install_tags_and_names_the_extra_for_the_rest(
    ner: Language, tmp_path: Path
) -> None:
    ner.to_disk(tmp_path)
    text, converted = "Eve met Ada in Rome .", tmp_path / "converted"
    commands = [
        ["tag", tmp_path, text],
        ["check", SAMPLE],
        ["evaluate", tmp_path, SAMPLE],
        ["convert", SAMPLE, converted],
    ]
    program = [sys.executable, "-W", "ignore", "-c", LIGHT, json.dumps(commands, default=str)]
    ended = subprocess.run(program, capture_output=True, text=True, check=True)
    assert ended.stdout == run("tag", tmp_path, text)
    extra = "which is not installed: pip install 'bigru-tagger[train]'"
    missing = ["datasets", "seqeval", "datasets"]
    assert ended.stderr.splitlines() == [
        "status 0",
        *(
            line
            for package in missing
            for line in (f"Error: this command needs the package {package}, {extra}", "status 1")
        ),
    ]


@pytest.mark.parametrize("module", ["bigru_tagger", "bigru_tagger.cli.app"])
def test_modules_run_the_command_line(module: str, tmp_path: Path) -> None:
    arguments = [sys.executable, "-W", "ignore", "-m", module, "check", tmp_path / "x.conll"]
    ended = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (1, f"Error: {tmp_path / 'x.conll'}: no such file\n")


def test_config_lists_prints_and_copies(tmp_path: Path) -> None:
    assert run("config").splitlines() == [
        "conll2003              Entities in news; a Doc is a window of 32 sentences",
        "conll2003_max          Entities in news; whole documents and all resources",
        "conll2003_multitask    Entities, tags and chunks on one encoder",
        "conll2003_transformer  Entities in news, with a transformer",
        "nested                 Nested spans in two layers on one encoder",
        "sample                 Entities in a small sample, for a first look in minutes",
        "spancat                Overlapping spans, by spaCy's spancat on our encoder",
        "wnut17                 Entities in short posts",
    ]
    assert run("config", "sample").startswith("# Entities in a small sample")
    copy = tmp_path / "copy.cfg"
    run("config", "sample", copy)
    assert copy.read_text(encoding="utf8") in run("config", "sample")


def test_config_does_not_overwrite_and_lists_the_configs(tmp_path: Path) -> None:
    copy = tmp_path / "copy.cfg"
    copy.write_text("mine", encoding="utf8")
    assert "already exists: remove it" in run("config", "sample", copy, fails=True)
    assert copy.read_text(encoding="utf8") == "mine"
    assert "choose a file, or conll2003, conll2003_max" in run("config", "nope", fails=True)


def test_convert_writes_every_split_and_a_table(tmp_path: Path) -> None:
    output = run("convert", SAMPLE, tmp_path)
    assert "sentence starts" not in output
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "test.spacy",
        "train.spacy",
        "validation.spacy",
    ]
    assert "130" in output
    assert "MISC" in output
    docs = list(DocBin().from_disk(tmp_path / "test.spacy").get_docs(spacy.blank("en").vocab))
    assert len(docs) == 130
    assert sum(ent.label_ == "LOC" for doc in docs for ent in doc.ents) == 96
    assert all(doc.has_annotation("TAG") and "chunks" in doc.spans for doc in docs)


def test_convert_whole_documents_of_one_split(tmp_path: Path) -> None:
    output = run("convert", SAMPLE, tmp_path, "--split", "test", "--n-sents", 0)
    assert "Note: spacy.Corpus.v1 does not pass the sentence starts in .spacy files on" in output
    (path,) = tmp_path.iterdir()
    docs = list(DocBin().from_disk(path).get_docs(spacy.blank("en").vocab))
    assert len(docs) == 26
    assert sum(len(list(doc.sents)) for doc in docs) == 130


def test_convert_with_other_labels(tmp_path: Path) -> None:
    corpus = tmp_path / "posts.tsv"
    corpus.write_text("Ada\tB-PER\nleft\tO\nRome\tB-LOC\n")
    names = ("--rename", "PER=person", "--rename", "LOC=")
    with pytest.warns(UserWarning, match="no entity 'group'"):
        run("convert", corpus, tmp_path, *names, "--annotated-labels", "person, group")
    (doc,) = DocBin().from_disk(tmp_path / "posts.spacy").get_docs(Vocab())
    assert [(ent.text, ent.label_) for ent in doc.ents] == [("Ada", "person")]
    assert ENTITIES.annotated_labels(doc) == {"person", "group"}
    assert "must be LABEL=NAME" in run("convert", corpus, tmp_path, "--rename", "PER", fails=True)


def test_convert_errors(tmp_path: Path) -> None:
    message = run("convert", SAMPLE, tmp_path, "--split", "dev", fails=True)
    assert message.startswith("Error: ")
    assert "train, validation, test" in message
    assert "IOB3" in run("convert", SAMPLE, tmp_path, "--scheme", "IOB3", fails=True)
    assert not list(tmp_path.iterdir())


def test_evaluate_writes_numbers(ruler: Path, tmp_path: Path) -> None:
    scores, columns = tmp_path / "scores.json", tmp_path / "columns.txt"
    output = run("evaluate", ruler, SAMPLE, "--json", scores, "--predictions", columns)
    assert "LOC" in output
    assert json.loads(scores.read_text(encoding="utf8"))["split"] == "test"
    assert {len(line.split()) for line in columns.read_text(encoding="utf8").splitlines()} == {0, 3}


@Language.component("cli_test_sentences")
def count_sentences(doc: Doc) -> Doc:
    """Set one entity per sentence of the Doc; none without sentence boundaries."""
    starts = [token.i for token in doc if token.is_sent_start]
    given = doc.has_annotation("SENT_START", require_complete=True)
    doc.set_ents([Span(doc, i, i + 1, "LOC") for i in starts if given], default="outside")
    return doc


COLUMNS = (
    "-DOCSTART- O\n\nOslo B-LOC\nfell O\n\nKenya B-LOC\nwon O\n\nRain B-LOC\nfell O\n"
    "-DOCSTART- O\n\nVienna B-LOC\nbegan O\n"
)


@pytest.mark.parametrize(
    ("dev", "options", "documents", "predicted"),
    [
        ({}, [], 4, 0),
        ({"sentences_per_doc": 2}, [], 3, 2),
        ({"sentences_per_doc": 0}, [], 2, 3),
        ({"sentences_per_doc": 0, "given_sentences": False}, [], 2, 0),
        ({"sentences_per_doc": "${training.max_epochs}"}, [], 2, 3),
        ({"sentences_per_doc": 0}, ["--sentences-per-doc", 1], 4, 0),
        ({}, ["--n-sents", 2], 3, 2),
        ({"given_sentences": False}, ["--n-sents", 2], 3, 0),
        (None, [], 4, 0),
    ],
)
def test_evaluate_uses_the_context_of_training(
    dev: dict[str, object] | None,
    options: list[object],
    documents: int,
    predicted: int,
    tmp_path: Path,
) -> None:
    nlp = spacy.blank("en")
    nlp.add_pipe("cli_test_sentences")
    if dev is None:
        nlp.config["corpora"] = {"@readers": "some_reader.v1"}
    else:
        nlp.config["corpora"]["dev"] = {"@readers": "some_reader.v1", **dev}
    nlp.to_disk(tmp_path / "model")
    data, scores = tmp_path / "gold.conll", tmp_path / "scores.json"
    data.write_text(COLUMNS, encoding="utf8")
    run("evaluate", tmp_path / "model", data, *options, "--json", scores)
    numbers = json.loads(scores.read_text(encoding="utf8"))
    assert numbers["documents"] == documents
    # Only Docs of several sentences have sentence starts.
    assert numbers["entities"]["default"]["per_type"]["LOC"]["predicted"] == predicted


def test_tag_prints_entities(ruler: Path) -> None:
    output = run("tag", ruler, "From Vienna to Kenya .", "Nothing here .")
    assert [line.split() for line in output.splitlines()] == [
        ["From", "Vienna", "to", "Kenya", "."],
        ["LOC", "Vienna"],
        ["LOC", "Kenya"],
        ["Nothing", "here", "."],
        ["no", "entities"],
    ]


def find_names(doc: Doc) -> Doc:
    """Set tags, and all capitalized words as entities with probabilities and as spans."""
    names = [token for token in doc if token.is_title]
    for token in doc:
        token.tag_ = "NNP" if token.is_title else "XX"
    doc.set_ents([Span(doc, token.i, token.i + 1, "NAME") for token in names], default="outside")
    for i, ent in enumerate(doc.ents):
        ent._.sure = None if i else 0.987
    spans = [Span(doc, token.i, token.i + 1, "CAP") for token in names]
    doc.spans["found"] = SpanGroup(doc, spans=spans, attrs={"scores": [0.25] * len(spans)})
    return doc


class Finder:
    """`cli_test_finder` as a component whose setting names the attribute of the probability."""

    confidence = "sure"

    def __call__(self, doc: Doc) -> Doc:
        """Find names."""
        return find_names(doc)


Language.factory(
    "cli_test_finders",
    assigns=["doc.ents", "token.tag", "doc.spans"],
    func=lambda nlp, name: Finder(),
)


@pytest.fixture
def finder(tmp_path: Path) -> Iterator[Path]:
    Span.set_extension("sure", default=None)
    nlp = spacy.blank("en")
    nlp.add_pipe("cli_test_finders")
    nlp.to_disk(tmp_path / "finder")
    yield tmp_path / "finder"
    Span.remove_extension("sure")


def test_tag_prints_entities_spans_and_tags_with_their_probabilities(finder: Path) -> None:
    assert run("tag", finder, "Ada  met Eve", "rain").splitlines() == [
        "Ada  met Eve",
        "  NAME    98.7%  Ada",
        "  NAME     Eve",
        "  found:",
        "    CAP     25.0%  Ada",
        "    CAP     25.0%  Eve",
        "  tags: Ada/NNP met/XX Eve/NNP",
        "rain",
        "  no entities",
        "  no found",
        "  tags: rain/XX",
    ]


def test_tag_prints_docs_that_spacy_reads(finder: Path) -> None:
    (line,) = run("tag", finder, "Ada met Eve", "--json").splitlines()
    found = json.loads(line)
    assert found["ents"] == [
        {"start": 0, "end": 3, "label": "NAME", "score": 0.987},
        {"start": 8, "end": 11, "label": "NAME"},
    ]
    assert [span["score"] for span in found["spans"]["found"]] == [0.25, 0.25]
    doc = Doc(spacy.blank("en").vocab).from_json(found)
    assert [(ent.text, ent.label_) for ent in doc.ents] == [("Ada", "NAME"), ("Eve", "NAME")]
    assert [token.tag_ for token in doc] == ["NNP", "XX", "NNP"]


def test_tag_reads_lines_of_files_and_standard_input(ruler: Path, tmp_path: Path) -> None:
    path = tmp_path / "texts.txt"
    path.write_bytes("\ufeffVienna\r\n \n# Kenya\u2028!".encode())
    expected = ["Vienna", "  LOC      Vienna", "# Kenya\u2028!", "  LOC      Kenya"]
    assert run("tag", ruler, "--input", path).split("\n") == [*expected, ""]
    assert run("tag", ruler, stdin=path.read_bytes()).split("\n") == [*expected, ""]
    twice = run("tag", ruler, "-i", path, "-i", "-", "--batch-size", 1, stdin=path.read_bytes())
    assert twice.split("\n") == [*expected, *expected, ""]
    assert run("tag", ruler, stdin="") == ""


def test_tag_names_unreadable_lines(ruler: Path, tmp_path: Path) -> None:
    latin, missing = tmp_path / "latin.txt", tmp_path / "missing.txt"
    latin.write_bytes(b"Vienna\nZ\xfcrich\n")
    assert f"{latin}:2: 'utf-8' codec" in run("tag", ruler, "-i", latin, fails=True)
    assert "standard input:1: 'utf-8' codec" in run("tag", ruler, stdin=b"\xff", fails=True)
    assert str(missing) in run("tag", ruler, "-i", missing, fails=True)
    assert "use only one of them" in run("tag", ruler, "Vienna", "-i", latin, fails=True)


def test_tag_with_our_components(tmp_path: Path) -> None:
    nlp = build("bigru_ner", "bigru_tagger", "bigru_chunker", model=TINY)
    nlp.remove_pipe("bigru_ner")
    nlp.add_pipe("bigru_ner", config={"model": TINY, "confidence": "probability"})
    nlp.initialize(lambda: read_examples(nlp.vocab))
    train(nlp)
    nlp.to_disk(tmp_path)
    lines = [
        line.split()
        for line in run(
            "tag", tmp_path, "Ships leave New York City daily .", "Nothing happened yesterday ."
        ).splitlines()
    ]
    number = re.compile(r"\d+\.\d%")
    assert [[word for word in line if not number.fullmatch(word)] for line in lines] == [
        ["Ships", "leave", "New", "York", "City", "daily", "."],
        ["LOC", "New", "York", "City"],
        ["chunks:"],
        ["NP", "Ships"],
        ["VP", "leave"],
        ["NP", "New", "York", "City"],
        ["ADVP", "daily"],
        ["tags:", "Ships/NNS", "leave/VBP", "New/NNP", "York/NNP", "City/NNP", "daily/RB", "./."],
        ["Nothing", "happened", "yesterday", "."],
        ["no", "entities"],
        ["chunks:"],
        ["NP", "Nothing"],
        ["VP", "happened"],
        ["NP", "yesterday"],
        ["tags:", "Nothing/NN", "happened/VBD", "yesterday/NN", "./."],
    ]
    found = [line for line in lines if line[0] in ("LOC", "NP", "VP", "ADVP")]
    assert all(number.fullmatch(line[1]) for line in found)


def test_tag_names_a_missing_model() -> None:
    assert "no_such_model" in run("tag", "no_such_model", "Hello .", fails=True)


def test_code_registers_the_functions_of_a_pipeline(tmp_path: Path) -> None:
    code = tmp_path / "own.py"
    code.write_text(
        "from spacy.language import Language\n"
        "from spacy.tokens import Span\n"
        '@Language.component("first_token_is_a_place")\n'
        "def first_token_is_a_place(doc):\n"
        '    doc.ents = [Span(doc, 0, 1, "LOC")]\n'
        "    return doc\n",
        encoding="utf8",
    )
    config = spacy.blank("en").config
    config["nlp"]["pipeline"] = ["places"]
    config["components"] = {"places": {"factory": "first_token_is_a_place"}}
    model = tmp_path / "model"
    spacy.blank("en").to_disk(model)
    config.to_disk(model / "config.cfg")
    assert "first_token_is_a_place" in run("tag", model, "Vienna is old .", fails=True)
    assert "LOC      Vienna\n" in run("--code", code, "tag", model, "Vienna is old .")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "1000"),
        ({"GOMP_SPINCOUNT": "7"}, "7"),
        ({"OMP_WAIT_POLICY": "active"}, None),
    ],
)
def test_threads_wait_in_short_loops(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], expected: str | None
) -> None:
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.argv", ["bigru-tagger", "--version"])
    with pytest.raises(SystemExit):
        main()
    assert os.environ.get("GOMP_SPINCOUNT") == expected
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
