"""`bigru-tagger check`, on corpora whose counts are worked out by hand."""

import json

import pytest
import spacy
from spacy.tokens import Doc, DocBin, Span
from spacy.training import Example
from typer.testing import CliRunner

from bigru_tagger.cli import app
from bigru_tagger.report.corpus_check import check_corpus
from bigru_tagger.report.corpus_check_text import render_check

VOCAB = spacy.blank("en").vocab


def example(
    text, ents=(), *, starts=(0,), given=(0,), spans=None, tags=None, predicted=None, annotated=True
):
    """An example: words with `ents` as (start, end, label).

    The gold Doc has the sentence starts `starts`, and the Doc for predictions those of `given`.
    """
    words = [{"_": " "}.get(word, word) for word in text.split()]
    doc = with_starts(words, starts, tags=tags)
    if annotated:
        doc.set_ents([Span(doc, *span[:2], label=span[2]) for span in ents], default="outside")
    for key, own in (spans or {}).items():
        doc.spans[key] = [Span(doc, *span[:2], label=span[2]) for span in own]
    return Example(with_starts(words if predicted is None else predicted.split(), given), doc)


def with_starts(words, starts, tags=None):
    given = None if starts is None else [i in starts for i in range(len(words))]
    return Doc(VOCAB, words=words, sent_starts=given, tags=tags)


def findings(check, level):
    return [(own.split, own.layer, own.text, own.count) for own in check.level(level)]


def only(check, level):
    (finding,) = check.level(level)
    return finding


def test_counts_of_a_worked_example():
    check = check_corpus(
        {
            "train": [
                example(
                    "Anna left Linz . She sang .",
                    [(0, 1, "PER"), (2, 3, "LOC")],
                    starts=(0, 4),
                    given=(0, 4),
                    tags=["NNP", "VBD", "NNP", ".", "PRP", "VBD", "."],
                ),
                example("New York City", [(0, 3, "LOC")]),
                example("nothing here", spans={"np": [(0, 1, "NP")]}),
            ]
        },
        rare=0,
    )
    counts = check.splits["train"]
    assert (counts.documents, counts.sentences, counts.tokens) == (3, 4, 12)
    assert (counts.longest_document, counts.longest_sentence) == (7, 4)
    entities = counts.layers["entities"]
    assert entities.labels == {"PER": 1, "LOC": 2}
    assert (entities.documents, entities.without, entities.unknown) == (3, 1, 0)
    assert (entities.longest, entities.longest_text.strip()) == (3, "New York City")
    assert counts.layers["tags"].labels == {"NNP": 2, "VBD": 2, ".": 2, "PRP": 1}
    assert counts.layers["np"].labels == {"NP": 1}
    assert findings(check, "note") == [
        ("train", "tags", "2 Docs without this annotation", 2),
        ("train", "np", "2 Docs without this annotation", 2),
    ]
    assert not check.level("error")
    assert not check.level("warning")


@pytest.mark.parametrize(
    ("eg", "level", "layer", "text"),
    [
        (example("Anna _ sang", [(0, 2, "PER")]), "warning", "entities", "white space"),
        (
            example("a Anna _", spans={"np": [(1, 3, "NP")]}, annotated=False),
            "warning",
            "np",
            "white space",
        ),
        (
            example("Anna Berg", [(0, 2, "PER")], starts=(0, 1), given=(0, 1)),
            "warning",
            "entities",
            "sentence start",
        ),
        (
            example("AnnaBerg sang", [(0, 1, "PER")], predicted="Anna Bergsang"),
            "warning",
            "entities",
            "not aligned",
        ),
        (
            example("a b c", spans={"np": [(0, 2, "NP"), (1, 3, "NP")]}),
            "error",
            "np",
            "overlapping",
        ),
    ],
)
def test_annotation_that_cannot_be_learned_is_listed(eg, level, layer, text):
    check = check_corpus({"train": [example("fine here", [(0, 1, "PER")]), eg]}, rare=0)
    (found,) = [own for own in check.level(level) if own.layer == layer]
    assert text in found.text
    assert found.count == 1
    assert found.cases[0].startswith("Doc 2: ")


def test_a_span_whose_ends_are_token_boundaries_is_no_finding():
    fine = example("AnnaBerg sang", [(0, 1, "PER")], predicted="Anna Berg sang")
    assert not check_corpus({"train": [fine]}, rare=0).findings


def test_missing_sentence_starts_are_a_warning():
    check = check_corpus(
        {
            "train": [
                example("Anna sang", [(0, 1, "PER")]),
                # One sentence, so nothing is lost.
                example("Anna sat", [(0, 1, "PER")], given=None),
                # The reader does not pass on the second start.
                example("Anna ate . Linz too", [(0, 1, "PER")], starts=(0, 3), given=None),
                # There are no starts at all.
                example("Anna lost . Linz too", [(0, 1, "PER")], starts=None, given=None),
                example("Anna won . Linz too", [(0, 1, "PER")], starts=None, given=None),
                # One token is one sentence.
                example("Anna", [(0, 1, "PER")], starts=None, given=None),
                # The pipeline gets starts that the gold Doc lacks.
                example("Anna lay . Linz too", [(0, 1, "PER")], starts=None, given=(0, 3)),
            ]
        },
        rare=0,
    )
    unset, left_out = check.level("warning")
    assert unset.text.startswith("2 Docs without sentence starts: the pipeline estimates them")
    assert left_out.text.startswith("1 Doc whose sentence starts the reader leaves out: ")
    assert (unset.count, left_out.count) == (2, 1)
    assert check.splits["train"].sentences == 8  # only the third Doc has two


def test_labels_are_compared_with_the_training_split():
    check = check_corpus(
        {
            "dev": [example("Anna", [(0, 1, "PERSON")]), example("Linz", [(0, 1, "LOC")])],
            "train": [example(f"w{i} x", [(0, 1, "LOC")]) for i in range(3)]
            + [example("Berg y", [(0, 1, "PER")])],
        },
        rare=3,
    )
    warnings = check.level("warning")
    assert [(own.split, own.text, own.cases) for own in warnings] == [
        ("train", "1 label with fewer than 3 occurrences", ["PER (1)"]),
        ("dev", "1 label absent from train: never predicted", ["PERSON (1)"]),
    ]
    note = only(check, "note")
    assert (note.split, note.cases) == ("dev", ["PER (1 in train)"])


def test_duplicates_within_and_between_splits():
    long = "a b c d e f g h i j"
    check = check_corpus(
        {
            "train": [
                example(long, [(0, 1, "PER")]),
                example("x y", [(0, 1, "PER")]),
                example("x y", [(0, 2, "LOC")]),
                example(long, [(0, 1, "PER")]),
            ],
            "test": [example(long, [(0, 1, "PER")]), example("n m", [(0, 1, "LOC")])],
            "other": [example("x y", [(0, 1, "PER"), (1, 2, "LOC")])],
        },
        rare=0,
    )
    assert [(own.split, own.text, own.cases) for own in check.level("warning")] == [
        (
            "train",
            "1 text repeated with different annotation",
            ["Docs 2, 3: 'x y' differs in 'x' (PER), 'x y' (LOC)"],
        ),
        (
            "test",
            "1 Doc also in train (1 different text of 10 tokens or more)",
            [f"Docs 1: '{long}'"],
        ),
    ]
    repeated, shared, *_ = check.level("note")
    assert (repeated.split, repeated.count) == ("train", 2)
    assert (shared.split, shared.text) == ("other", "1 Doc also in train")


def test_texts_with_several_labels_and_texts_annotated_in_part():
    check = check_corpus(
        {
            "train": [
                example("Jordan sang", [(0, 1, "PER")]),
                example("in Jordan", [(1, 2, "LOC")]),
                example("to Jordan now", [(1, 2, "LOC")]),
                example("Linz now", [(0, 1, "LOC")]),
                example("Linz then"),
                example("New Linz", [(0, 2, "LOC")]),  # a part of another entity does not count
            ]
        },
        rare=0,
    )
    assert [(own.text, own.cases) for own in check.level("note")] == [
        ("1 text with several labels", ["Jordan: LOC 2, PER 1"]),
        ("1 text annotated in one place and not in another", ["Linz: LOC 1, none 1"]),
    ]


@pytest.mark.parametrize(
    ("examples", "level", "text"),
    [
        ([], "error", "has no tokens"),
        ([example("a b", annotated=False)], "error", "nothing to learn"),
        ([example("a b")], "warning", "is annotated, but has no labels"),
        ([example("a", [(0, 1, "X")]), example("")], "warning", "1 Doc without tokens"),
    ],
)
def test_empty_splits(examples, level, text):
    assert text in only(check_corpus({"train": examples}, rare=0), level).text


def test_an_error_of_the_reader_is_reported_and_the_rest_is_checked():
    def broken():
        yield example("Anna", [(0, 1, "PER")])
        raise ValueError("data.conll:7: a tag too few")

    check = check_corpus({"train": broken(), "dev": [example("Anna", [(0, 1, "PER")])]}, rare=0)
    error = only(check, "error")
    assert (error.split, error.text) == (
        "train",
        "cannot be read completely: data.conll:7: a tag too few",
    )
    assert check.splits["train"].documents == check.splits["dev"].documents == 1


# --- the command


def run(*arguments):
    return CliRunner().invoke(app, ["check", *map(str, arguments)])


def write_columns(path, sentences):
    path.write_text("\n\n".join(sentences) + "\n", encoding="utf8")


def test_the_command_prints_numbers_and_findings(tmp_path):
    write_columns(tmp_path / "train.conll", ["Anna B-PER\nsang O", "Linz B-LOC"])
    write_columns(tmp_path / "test.conll", ["Berg B-PER\n. O"])
    target = tmp_path / "check.json"
    result = run(tmp_path, "--rare", 2, "--json", target)
    assert result.exit_code == 0, result.output
    lines = [line.rstrip() for line in result.output.splitlines()]
    assert [line.split() for line in lines if line.startswith(("tokens", "entities", "  PER"))] == [
        ["tokens", "3", "2"],
        ["entities", "2", "1"],
        ["PER", "1", "1"],
    ]
    assert lines[-1] == "0 errors, 1 warning, 1 note"
    assert "- train, entities: 2 labels with fewer than 2 occurrences" in lines
    content = json.loads(target.read_text(encoding="utf8"))
    assert content["splits"]["train"]["layers"]["entities"]["labels"] == {"PER": 1, "LOC": 1}
    assert [own["level"] for own in content["findings"]] == ["warning", "note"]
    assert run(tmp_path, "--split", "test").output.count("train") == 0


def test_the_command_reads_several_files_and_fails_on_errors(tmp_path):
    doc = example("a b", spans={"np": [(0, 2, "NP"), (1, 2, "NP")]}).reference
    for name in ("one", "two"):
        DocBin(docs=[doc]).to_disk(tmp_path / f"{name}.spacy")
    result = run(tmp_path / "one.spacy", tmp_path / "two.spacy", "--lang", "en")
    assert result.exit_code == 1
    assert result.output.count("1 Doc with overlapping spans") == 2
    assert "one" in result.output.splitlines()[0]
    missing = run(tmp_path / "three.spacy")
    assert missing.exit_code == 1
    assert "three.spacy: no such file" in missing.output
    unknown = run(tmp_path / "one.spacy", "--split", "dev")
    assert "no split dev: it has no splits" in unknown.output


def test_converted_files_of_several_sentences_keep_their_starts(tmp_path):
    write_columns(tmp_path / "train.conll", ["Anna B-PER\nsang O", "Linz B-LOC", "Berg B-PER"])
    for size in (1, 2):
        options = ["--sentences-per-doc", size]
        target = tmp_path / f"converted{size}"
        command = ["convert", tmp_path / "train.conll", target, *options]
        assert CliRunner().invoke(app, [*map(str, command)]).exit_code == 0
        for source in (tmp_path / "train.conll", target / "train.spacy"):
            assert "sentence starts the reader leaves out" not in run(source, *options).output


def test_starts_that_the_reader_leaves_out():
    vocab = spacy.blank("xx").vocab
    words = ["Anna", "sang", "Linz"]
    gold = Doc(vocab, words=words, sent_starts=[True, False, True], ents=["B-PER", "O", "B-LOC"])
    check = check_corpus({"train": [Example(Doc(vocab, words=words), gold)]})
    texts = [finding.text for finding in check.level("warning")]
    assert any(text.startswith("1 Doc whose sentence starts the reader leaves") for text in texts)


def test_number_of_cases_that_are_shown():
    check = check_corpus({"train": [example(f"a{i} b", [(0, 1, f"L{i}")]) for i in range(7)]})
    assert render_check(check, n_cases=2).count("    L") == 2
    assert "    and 5 more" in render_check(check, n_cases=2)
