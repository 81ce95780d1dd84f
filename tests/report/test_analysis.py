import json
import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from oracle import evaluate_sentences
from samples import TINY, build
from seqeval.metrics import accuracy_score
from spacy.lang.en import English
from spacy.tokens import Doc
from spacy.training import Example

from bigru_tagger.report.analysis import analyse, analyse_tasks
from bigru_tagger.report.calibration import Threshold
from bigru_tagger.report.cells import percent
from bigru_tagger.report.evaluation_sections import make_report
from bigru_tagger.report.evaluation_text import render
from bigru_tagger.report.matching import MucCounts
from bigru_tagger.report.render import render_markdown, render_page
from bigru_tagger.report.resampling import bootstrap_interval, micro
from bigru_tagger.scoring.loading import confidence_attributes
from bigru_tagger.scoring.run import SpanReport, score_predictions
from bigru_tagger.scoring.scoring import Counts, make_seqeval_scorer, tag_examples

# Correct: Ada Lovelace, York, Oslo, Bob. Wrong type: Kew. Wrong boundaries: Eve Smith.
# Wrong type and boundaries: New York City. Missing: Lima. Spurious: Rain.
SENTENCES = [
    ("Ada Lovelace saw York", [(0, 2, "PER"), (3, 4, "LOC")], [(0, 2, "PER", 1), (3, 4, "LOC", 1)]),
    ("Oslo and Kew", [(0, 1, "LOC"), (2, 3, "LOC")], [(0, 1, "LOC", 0.9), (2, 3, "PER", 0.8)]),
    ("Eve Smith met Bob", [(0, 2, "PER"), (3, 4, "PER")], [(0, 1, "PER", 0.6), (3, 4, "PER", 1)]),
    ("New York City", [(0, 3, "LOC")], [(0, 2, "ORG", 0.5)]),
    ("Rain in Lima", [(2, 3, "LOC")], [(0, 1, "ORG")]),
    ("Nothing here", [], []),
]


@pytest.fixture(scope="module")
def evaluation():
    return evaluate_sentences(*SENTENCES)


@pytest.fixture(scope="module")
def analysis(evaluation):
    return analyse(evaluation, confidence=["confidence"])


def test_the_worked_example(analysis):
    # LOC: five gold entities, York and Oslo are found. PER: three, Eve Smith is not found.
    counts = {row.name: (row.gold, row.predicted, row.correct) for row in analysis.default.per_type}
    assert counts == {"LOC": (5, 2, 2), "ORG": (0, 2, 0), "PER": (3, 4, 2)}
    micro = analysis.default.micro
    assert (micro.gold, micro.predicted, micro.correct) == (8, 8, 4)
    assert micro.f1 == 0.5
    # F1 of LOC is 2 * 1 * .4 / 1.4, of ORG 0, of PER 2 * .5 * 2/3 / (7/6).
    assert analysis.default.macro.f1 == pytest.approx((4 / 7 + 0 + 4 / 7) / 3)
    assert analysis.strict is None
    assert analysis.types == ["LOC", "PER", "ORG"]
    assert (analysis.documents, analysis.sentences, analysis.positions) == (6, 6, None)


def test_kinds_and_confusions_of_the_worked_example(analysis):
    assert analysis.kinds == {
        "PER": Counter({"correct": 2, "wrong boundaries": 1}),
        "LOC": Counter(
            {"correct": 2, "wrong type": 1, "wrong type and boundaries": 1, "missing": 1}
        ),
        "ORG": Counter({"spurious": 1}),
    }
    assert analysis.all_kinds.total() == 9
    assert analysis.confusions == Counter(
        {
            ("PER", "PER"): 3,
            ("LOC", "LOC"): 2,
            ("LOC", "PER"): 1,
            ("LOC", "ORG"): 1,
            ("LOC", None): 1,
            (None, "ORG"): 1,
        }
    )
    assert +analysis.moved == Counter({("PER", "PER"): 1, ("LOC", "ORG"): 1})
    assert analysis.muc["partial"] == MucCounts(5, 0, 2, 1, 1)


def test_token_accuracy_is_seqevals(evaluation, analysis):
    docs = tag_examples(evaluation.examples)
    gold, predicted = [doc.gold for doc in docs], [doc.predicted for doc in docs]
    assert analysis.accuracy.value == accuracy_score(gold, predicted)
    # 7 of 19 tokens are wrong: Kew, Smith, New York City, Rain and Lima.
    assert (analysis.accuracy.correct, analysis.accuracy.tokens) == (12, 19)
    low, high = analysis.accuracy.interval
    assert low < 12 / 19 < high


def test_tokens_without_gold_annotation_do_not_count_in_token_accuracy():
    words = ["Ada", "saw", "Eve", "Bob"]
    gold = Doc(English().vocab, words=words, ents=["B-PER", "O", "", ""])
    predicted = Doc(gold.vocab, words=words, ents=["O", "O", "O", "B-PER"])
    accuracy = analyse(score_predictions([Example(predicted, gold)], model="m")).accuracy
    assert (accuracy.correct, accuracy.tokens) == (1, 2)


def test_confidences_of_the_worked_example(analysis):
    found = analysis.confidences
    assert found.unknown == 1
    assert sorted(found.outcomes.probability.tolist()) == [0.5, 0.6, 0.8, 0.9, 1, 1, 1]
    # Errors: .5, .6, .8, .1 and three times 0. Each has its own bin, except the last three.
    assert found.error == pytest.approx((0.5 + 0.6 + 0.8 + 0.1) / 7)
    by_threshold = {own.threshold: own for own in found.thresholds}
    assert by_threshold[0.0] == Threshold(0.0, 1.0, Counts(8, 7, 4))
    assert by_threshold[0.6] == Threshold(0.6, 6 / 7, Counts(8, 6, 4))
    assert by_threshold[0.9] == Threshold(0.9, 4 / 7, Counts(8, 4, 4))
    assert by_threshold[0.99] == Threshold(0.99, 3 / 7, Counts(8, 3, 3))


def test_without_probabilities(evaluation):
    analysis = analyse(evaluation)
    assert analysis.confidences is None
    assert "There are no predictions with a probability" in page_of(evaluation, analysis)


def test_positions_if_docs_have_several_sentences():
    result = evaluate_sentences(
        ("Ada came . Kew fell", [(0, 1, "PER"), (3, 4, "LOC")], [(0, 1, "PER")]), starts={0, 3}
    )
    analysis = analyse(result)
    assert (analysis.documents, analysis.sentences) == (1, 2)
    assert [(own.name, own.recall) for own in analysis.positions] == [("1", 1.0), ("2", 0.0)]
    assert analysis.default.micro.intervals == (None, None, None)
    assert (
        "There are no intervals, because they resample Docs and there is only one Doc"
        in page_of(result, analysis)
    )


def test_documents_that_the_data_mark(evaluation, analysis):
    # Two sentences each.
    found = analyse(evaluation, confidence=["confidence"], document_lengths=[7, 7, 5])
    assert (found.documents, found.sentences, len(found.docs)) == (3, 6, 6)
    # Gold, predicted, correct of these documents; of LOC, ORG, PER.
    counts = [
        [[3, 2, 2], [0, 0, 0], [1, 2, 1]],
        [[1, 0, 0], [0, 1, 0], [2, 2, 1]],
        [[1, 0, 0], [0, 1, 0], [0, 0, 0]],
    ]
    low, high = bootstrap_interval(np.array(counts), micro)
    assert found.default.micro.intervals == tuple(zip(low, high, strict=True))
    assert found.default.micro.f1 == analysis.default.micro.f1
    assert found.default.micro.intervals != analysis.default.micro.intervals
    # Correct: Ada Lovelace, York and Bob of five in first sentences, Oslo of three in second.
    places = [(own.name, own.gold, own.correct) for own in found.positions]
    assert places == [("1", 5, 3), ("2", 3, 1)]
    page = page_of(evaluation, found)
    assert "resamples of the 3 annotated documents" in page
    assert "With fewer than 30 documents" in page
    assert "is one sentence" not in page
    assert "By position in the document</h3>" in page
    assert found.to_json()["documents"] == 3
    assert found.to_json()["docs"] == 6


def test_documents_of_docs_without_annotation_are_not_counted():
    examples = [*evaluate_sentences(*SENTENCES).examples]
    examples[0] = Example(examples[0].predicted, Doc(English().vocab, SENTENCES[0][0].split()))
    partly = score_predictions(examples, model="m", seconds=1.0)
    assert analyse(partly, document_lengths=[4, 10, 5]).documents == 2
    # Sentences of a Doc without annotation count for positions.
    found = analyse(partly, document_lengths=[14, 5])
    places = [(own.name, own.gold, own.correct) for own in found.positions]
    assert places == [("1", 1, 0), ("2", 2, 1), ("3 to 5", 3, 1)]


def test_modes_that_differ_are_both_shown(evaluation):
    # Spans always give valid tag sequences, so a difference of the modes is made up here.
    report = evaluation.scores["entities"]
    strict = {**report.strict, "PER": Counts(3, 3, 1)}
    other = replace(evaluation, scores={"entities": SpanReport(report.default, strict)})
    analysis = analyse(other)
    assert analysis.strict.micro.correct == 3
    page = page_of(other, analysis)
    assert "strict mode (IOB2)</h3>" in page
    assert "agree, as" not in page


def page_of(evaluation, *analyses):
    return render_page(make_report(evaluation, analyses, {"command": "c"}, plots=False))


def test_all_outputs_agree_to_the_last_digit(evaluation, analysis):
    scores = make_seqeval_scorer()(evaluation.examples)
    micro = evaluation.to_json()["entities"]["default"]["micro"]
    own = analysis.to_json()["default"]["micro"]
    for name, key in (("precision", "ents_p"), ("recall", "ents_r"), ("f1", "ents_f")):
        assert scores[key] == micro[name] == own[name]
    for row in analysis.default.per_type:
        assert scores["ents_per_type"][row.name] == {
            "p": row.precision,
            "r": row.recall,
            "f": row.f1,
        }
    assert evaluation.to_json()["entities"]["default"]["macro"]["f1"] == analysis.default.macro.f1

    text = render(evaluation)
    report = make_report(evaluation, [analysis], {"command": "c"}, plots=False)
    page, markdown = render_page(report), render_markdown(report)
    rows = [*analysis.default.per_type, analysis.default.micro, analysis.default.macro]
    for row in rows:
        values = [row.precision, row.recall, row.f1]
        name = row.name if row.name.isupper() else f"{row.name} avg"
        assert re.search(rf"{name} +" + " +".join(f"{value:.4f}" for value in values), text)
        shown = [percent(value) for value in values]
        # The same digits, in percent.
        assert [float(value) for value in shown] == pytest.approx(
            [float(f"{value:.4f}") * 100 for value in values]
        )
        line = next(line for line in markdown.splitlines() if line.startswith(f"| {row.name} |"))
        assert [cell.split()[0] for cell in line.split("|")[2:5]] == shown
        line = next(line for line in page.splitlines() if f">{row.name}</th>" in line)
        assert re.findall(r"<td[^>]*>([\d.]+)", line)[:3] == shown


def test_percent_keeps_the_digits_of_the_text():
    # The text has 0.0063 for 1 of 160. Rounding 0.625 % would give 0.62.
    assert (f"{1 / 160:.4f}", f"{100 / 160:.2f}") == ("0.0063", "0.62")
    assert percent(1 / 160) == "0.63"
    assert [percent(value) for value in (0.0, 0.05, 0.89854, 1.0)] == [
        "0.00",
        "5.00",
        "89.85",
        "100.00",
    ]


def test_json_is_json(analysis):
    numbers = analysis.to_json()
    assert json.loads(json.dumps(numbers))["kinds"]["PER"]["wrong boundaries"] == 1
    assert numbers["strict"] == numbers["default"]
    assert numbers["by_novelty"] is None
    assert numbers["confusions"][0] == {
        "gold": "PER",
        "predicted": "PER",
        "count": 3,
        "other_boundaries": 1,
    }


def test_layers_with_training_data(evaluation):
    (analysis,) = analyse_tasks(evaluation, training=evaluation.examples)
    assert [(own.name, own.gold, own.correct) for own in analysis.novelty] == [
        ("seen with this type", 8, 4)
    ]
    with pytest.raises(ValueError, match="the training data have no entities"):
        analyse_tasks(evaluation, training=[])


def test_attributes_with_probabilities():
    assert confidence_attributes(build("bigru_ner", model=TINY)) == ("confidence",)
    assert confidence_attributes(build("bigru_ner", model=TINY, confidence="sure")) == ("sure",)
    assert confidence_attributes(build("bigru_ner", model=TINY, confidence=None)) == ()
    nlp = English()
    nlp.add_pipe("entity_ruler")
    assert confidence_attributes(nlp) == ()
