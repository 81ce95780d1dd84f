"""Reports on tags: each tagged token counts as an entity of one token."""

import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spacy.lang.en import English
from spacy.scorer import Scorer
from spacy.tokens import Doc
from spacy.training import Example
from spacy.vocab import Vocab
from typer.testing import CliRunner

from bigru_tagger.cli import app
from bigru_tagger.report.analysis import analyse, analyse_tasks
from bigru_tagger.report.blocks import Piece
from bigru_tagger.report.comparison_sections import comparison_facts, comparison_sections
from bigru_tagger.report.comparison_text import render_comparison
from bigru_tagger.report.evaluation_sections import make_report
from bigru_tagger.report.evaluation_text import render
from bigru_tagger.report.excerpts import group_errors
from bigru_tagger.report.matching import match_example
from bigru_tagger.report.render import render_markdown
from bigru_tagger.report.system_comparison import Overlap, compare_systems
from bigru_tagger.scoring.run import score_predictions
from bigru_tagger.scoring.scoring import Counts, tag_example
from bigru_tagger.tasks import TAGS

VOCAB = Vocab()
# Words, gold tags, tags of A, tags of B. A makes the same error twice; B makes one error.
DOCS = [
    ("Ada saw it", "NNP VBD PRP", "NNP NN PRP", "NNP VBD PRP"),
    ("Bob saw Kew", "NNP VBD NNP", "NNP NN NNP", "NN VBD NNP"),
    ("it rains", "PRP VBZ", "PRP VBZ", "PRP VBZ"),
]


def tagged(words, tags, **attributes):
    return Doc(VOCAB, words=words.split(), tags=tags.split(), **attributes)


def evaluation(side, docs=DOCS, model="A"):
    examples = [Example(tagged(row[0], row[1 + side]), tagged(*row[:2])) for row in docs]
    return score_predictions(examples, model=model, data="d", split="dev", seconds=1.0)


@pytest.fixture(scope="module")
def analysis():
    training = [Example(doc, doc) for doc in [tagged("Ada saw Kew it", "NNP NN NNP PRP")]]
    (found,) = analyse_tasks(evaluation(1), training=training)
    return found


def test_counts_of_the_worked_example():
    scored = evaluation(1)
    assert scored.scores["tags"].default == {
        "NN": Counts(0, 2, 0),
        "NNP": Counts(3, 3, 3),
        "PRP": Counts(2, 2, 2),
        "VBD": Counts(2, 0, 0),
        "VBZ": Counts(1, 1, 1),
    }
    assert scored.scores["tags"].strict == scored.scores["tags"].default
    assert scored.scores["tags"].accuracy == pytest.approx(6 / 8)
    assert list(scored.scores) == ["tags"]
    text = render(scored)
    assert "Tags, token by token" in text
    assert "micro avg     0.7500    0.7500    0.7500         8" in text
    assert scored.to_json()["tags"]["default"]["micro"]["f1"] == 0.75


def test_analysis_of_the_worked_example(analysis):
    assert analysis.task == TAGS
    assert (analysis.default.micro.f1, analysis.accuracy.value) == (0.75, 0.75)
    low, high = analysis.default.micro.intervals[2]
    assert low < 0.75 < high
    assert analysis.all_kinds == Counter({"correct": 6, "wrong type": 2})
    assert analysis.confusions["VBD", "NN"] == 2
    assert [(own.gold, own.predicted, own.count) for own in analysis.frequent] == [
        (("saw", "VBD"), ("saw", "NN"), 2)
    ]
    # Seen: Ada, Kew and twice "it". With another tag: twice "saw". New: Bob and rains.
    novelty = [(own.name, own.gold, own.correct) for own in analysis.novelty]
    assert novelty == [
        ("seen with this type", 4, 4),
        ("seen with other types only", 2, 0),
        ("new, of unseen words only", 2, 2),
    ]


def test_report_of_the_worked_example(analysis):
    report = make_report(evaluation(1), [analysis], {"command": "c"}, plots=False)
    assert [section.title for section in report.sections] == [
        "In short",
        "Look at these first",
        "Scores",
        "Confused types",
        "Seen in training",
        "Length and position",
        "All errors",
        "About this evaluation",
    ]
    text, _ = report.sections[0].blocks
    # Two of eight tokens have a wrong tag: "saw", predicted as NN in both of its sentences.
    assert text.text == (
        "The system gives 6 of 8 tokens the right tag (75.00 %). Its most frequent error is “VBD "
        "predicted as NN”, twice."
    )
    facts = {name: cell.text for name, cell in report.facts}
    assert facts["tag accuracy"] == "75.00"
    assert "F1" not in facts
    text = render_markdown(report)
    assert "| words seen with other tags only | 0.00 | 2 | 0 | 25.00 % |" in text
    assert "IOB2" not in text
    assert "By length of the entity" not in text


def test_only_the_error_is_marked_in_its_sentence(analysis):
    (group,) = group_errors(analysis.docs, only_error=True)
    assert group.title == "VBD predicted as NN"
    assert group.excerpts[0].gold == [
        Piece("Ada "),
        Piece("saw", "VBD", True),
        Piece(" "),
        Piece("it "),
    ]


def test_many_tags_are_listed_by_pairs():
    tags = [f"T{i:02}" for i in range(21)]
    words = " ".join(f"w{i}" for i in range(21))
    wrong = " ".join(["T01", *tags[1:]])
    docs = [(words, " ".join(tags), wrong), ("w w", "T05 T05", "T06 T05")]
    scored = evaluation(1, docs)
    report = make_report(scored, analyse_tasks(scored), {"command": "c"}, plots=False)
    text = render_markdown(report)
    assert "### Confused pairs of types" in text
    assert "| T00 | T01 | 1 | 100.00 % |" in text
    # One of the three T05 is predicted as T06.
    assert "| T05 | T06 | 1 | 33.33 % |" in text
    other = evaluation(0, docs, model="B")
    compared = compare_systems(scored, other, n_resamples=10, n_trials=10)
    # Three rows for all tags together, and one row for each of 21 tags.
    rows = render_comparison(compared).split("Tags, A against B")[1].split("\n\n")[1].splitlines()
    assert sum("F1" in row for row in rows) == 22
    assert sum("recall" in row for row in rows) == 1


def test_systems_are_compared_by_tags():
    found = compare_systems(evaluation(1), evaluation(2, model="B"), n_trials=100)
    assert "entities" not in found.tasks
    assert "chunks" not in found.tasks
    scores = found.tasks["tags"].micro["f1"]
    assert (scores.a, scores.b, scores.difference) == (0.75, 0.875, -0.125)
    # Both correct: Ada, it, Kew, it, rains. Only A: Bob. Only B: saw, twice.
    assert found.tasks["tags"].gold == Overlap(both=5, only_a=1, only_b=2, neither=0)
    assert found.to_json()["tags"]["documents"] == 3
    (fact,) = comparison_facts(found)
    assert (fact[0], fact[1].text) == ("tag accuracy, A − B", "−12.50")
    (section,) = comparison_sections(found)
    only_a, only_b = section.blocks[-2:]
    assert only_a.sentences[0]["gold, A"][1] == Piece("Bob", "NNP", True)
    assert len(only_b.sentences) == 2


def test_tokens_without_a_gold_tag_are_left_out():
    reference = tagged("Ada saw it", "NNP VBD PRP")
    reference[1].tag_ = ""
    eg = Example(tagged("Ada saw it", "NN NN PRP"), reference)
    assert TAGS.unknown_tokens(reference).tolist() == [False, True, False]
    assert tag_example(eg, TAGS) == (
        ["Ada", "saw", "it"],
        ["B-NNP", "O", "B-PRP"],
        ["B-NN", "O", "B-PRP"],
    )
    matched = match_example(eg, TAGS)
    assert matched.unknown == {1}
    assert [match.kind for match in matched.matches] == ["wrong type", "correct"]
    found = analyse(score_predictions([eg], model="m", seconds=1.0), TAGS)
    assert (found.accuracy.correct, found.accuracy.tokens) == (1, 2)
    assert not TAGS.is_annotated(Doc(VOCAB, words=["Ada"]))
    assert not TAGS.is_annotated(Doc(VOCAB))


def test_tokens_that_differ_cannot_have_the_tag():
    reference = tagged("New York is big", "NNP NNP VBZ JJ", spaces=[True] * 3 + [False])
    predicted = Doc(
        VOCAB,
        words=["New York", "is", "big"],
        tags=["NNP", "VBZ", "JJ"],
        spaces=[True, True, False],
    )
    scored = score_predictions([Example(predicted, reference)], model="m", seconds=1.0)
    assert scored.scores["tags"].default == {
        "JJ": Counts(1, 1, 1),
        "NNP": Counts(2, 1, 0),
        "VBZ": Counts(1, 1, 1),
    }


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.lists(st.tuples(*[st.sampled_from(["A", "B", "C"])] * 2), min_size=1, max_size=6),
        min_size=1,
        max_size=5,
    )
)
def test_the_accuracy_is_spacys(sentences):
    docs = [
        (" ".join("w" * len(rows)), *(" ".join(side) for side in zip(*rows, strict=True)))
        for rows in sentences
    ]
    scored = evaluation(1, docs)
    spacys = Scorer.score_token_attr(scored.examples, "tag")["tag_acc"]
    found = analyse(scored, TAGS)
    assert scored.scores["tags"].accuracy == spacys
    assert found.default.micro.f1 == pytest.approx(spacys, abs=1e-12)
    assert found.accuracy.value == pytest.approx(spacys, abs=1e-12)
    same = [gold == predicted for rows in sentences for gold, predicted in rows]
    assert found.accuracy.value == pytest.approx(np.mean(same))


def test_command_reports_and_compares_tags(tmp_path):
    columns = tmp_path / "gold.conll"
    columns.write_text("Ada NNP O O\nsaw VBD O O\nit PRP O O\n\nit PRP O O\nrains VBZ O O\n")
    for name, tag in (("a", "NNP"), ("b", "PRP")):
        nlp = English()
        nlp.add_pipe("attribute_ruler").add([[{"IS_ALPHA": True}]], {"TAG": tag})
        nlp.to_disk(tmp_path / name)
    numbers, page = tmp_path / "numbers.json", tmp_path / "page.html"
    arguments = [tmp_path / "a", columns, "--against", tmp_path / "b"]
    arguments += ["--json", numbers, "--report", page, "--train", columns]
    result = CliRunner().invoke(app, ["evaluate", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    assert "Tags, a against b" in result.stdout
    content = json.loads(numbers.read_text())
    assert content["tag_accuracy"] == pytest.approx(1 / 5)
    assert content["analysis"]["tags"]["token_accuracy"]["correct"] == 1
    assert content["comparison"]["tags"]["micro"]["f1"]["b"] == pytest.approx(2 / 5)
    assert "<dt>tag accuracy</dt><dd>20.00 " in page.read_text(encoding="utf8")
