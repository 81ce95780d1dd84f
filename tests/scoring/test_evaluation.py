import json

import pytest
import typer
from conlleval import conlleval
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from seqeval.metrics import classification_report
from seqeval.scheme import IOB2
from spacy.lang.en import English
from spacy.language import Language
from spacy.tokens import Doc, DocBin, Span
from spacy.training import Example
from typer.testing import CliRunner

from bigru_tagger.cli.evaluate import evaluate_command
from bigru_tagger.report.evaluation_text import render
from bigru_tagger.scoring.loading import declared_labels, load_pipeline
from bigru_tagger.scoring.run import SpanReport, evaluate, score_predictions
from bigru_tagger.scoring.scoring import (
    Counts,
    count_entities,
    make_seqeval_scorer,
    tag_examples,
)

FIRST = ["Ada", "Lovelace", "met", "Charles", "Babbage", "in", "London", "."]
SECOND = ["Kew", "is", "green", "."]
SCORER = {"@scorers": "bigru_tagger.seqeval_scorer.v1"}


@pytest.fixture
def nlp():
    """Predicts "Ada Lovelace", "London" (correct), "Charles" (too short), "Kew" (wrong label)."""
    nlp = English()
    ruler = nlp.add_pipe("entity_ruler", config={"scorer": SCORER})
    ruler.add_patterns(
        [
            {"label": "PER", "pattern": "Ada Lovelace"},
            {"label": "PER", "pattern": "Charles"},
            {"label": "LOC", "pattern": "London"},
            {"label": "PER", "pattern": "Kew"},
        ]
    )
    return nlp


def gold_docs(vocab):
    first = Doc(vocab, words=FIRST, sent_starts=[True] + [False] * 7, tags=["X"] * 7 + ["Z"])
    first.ents = [Span(first, start, end, label) for start, end, label in GOLD_FIRST]
    first.spans["chunks"] = [Span(first, 0, 2, "NP"), Span(first, 2, 3, "VP")]
    second = Doc(vocab, words=SECOND, sent_starts=[True, False, False, False], tags=["X"] * 4)
    second.ents = [Span(second, 0, 1, "LOC")]
    second.spans["chunks"] = []
    return [first, second]


GOLD_FIRST = [(0, 2, "PER"), (3, 5, "PER"), (6, 7, "LOC")]


def gold_examples(nlp):
    return [Example(nlp.make_doc("something else"), doc) for doc in gold_docs(nlp.vocab)]


def test_worked_example(nlp):
    result = evaluate(nlp, gold_examples(nlp), model="m", data="d", split="dev")
    # Predicted PER: Ada Lovelace, Charles, Kew. Predicted LOC: London.
    expected = {"LOC": Counts(2, 1, 1), "PER": Counts(2, 3, 1)}
    assert result.scores["entities"] == SpanReport(default=expected, strict=expected)
    assert (result.documents, result.tokens) == (2, 12)
    assert result.pipes == ("entity_ruler",)
    assert "chunks" not in result.scores
    assert "tags" not in result.scores
    assert result.words_per_second == result.tokens / result.seconds > 0
    numbers = json.loads(json.dumps(result.to_json()))
    assert numbers["entities"]["strict"] == numbers["entities"]["default"]
    assert numbers["entities"]["default"]["per_type"]["PER"] == {
        "precision": 1 / 3,
        "recall": 0.5,
        "f1": pytest.approx(0.4),
        "support": 2,
        "predicted": 3,
        "correct": 1,
    }
    assert numbers["entities"]["default"]["micro"]["f1"] == 0.5
    assert numbers["entities"]["default"]["macro"] == {
        "precision": pytest.approx((1 + 1 / 3) / 2),
        "recall": 0.5,
        "f1": pytest.approx((2 / 3 + 0.4) / 2),
        "support": 4,
    }
    assert numbers["versions"]["seqeval"]


def test_report_is_seqevals(nlp):
    result = evaluate(nlp, gold_examples(nlp), model="m", data="d", split="dev")
    docs = tag_examples(result.examples)
    gold, predicted = [doc.gold for doc in docs], [doc.predicted for doc in docs]
    text = render(result)
    for options in ({}, {"mode": "strict", "scheme": IOB2}):
        report = classification_report(gold, predicted, digits=4, zero_division=0, **options)
        assert report.rstrip() in text
    assert text.startswith(
        "model    m\npipes    entity_ruler\ndata     d (split dev)\nDocs     2\n"
    )
    assert "PER      2           3         1" in text
    assert "all      4           4         2" in text


def test_predictions_start_from_bare_tokens(nlp):
    """The pipeline's tokenizer and the gold annotation do not affect the predictions."""
    result = evaluate(nlp, gold_examples(nlp))
    assert [token.text for token in result.examples[0].predicted] == FIRST
    assert not result.examples[0].predicted.has_annotation("SENT_START")
    assert result.scores["entities"].default["PER"] == Counts(2, 3, 1)
    assert result.model == "en_pipeline"


@Language.component("evaluation_test_spy")
def spy(doc):
    """Record the attributes of the input, and change the sentence boundaries."""
    doc.user_data["input"] = [
        (token.is_sent_start, token.ent_iob, token.tag, bool(doc.spans)) for token in doc
    ]
    for token in doc:
        token.is_sent_start = True
    return doc


@pytest.mark.parametrize(
    "starts",
    [
        None,
        [True, False, False, False],
        [True, False, True, False],
        [True, None, False, True],
    ],
)
def test_sentence_boundaries_come_from_the_predicted_docs(nlp, starts):
    nlp.add_pipe("evaluation_test_spy", first=True)
    gold = gold_docs(nlp.vocab)[1]
    given = Doc(nlp.vocab, words=SECOND, sent_starts=starts, tags=["X"] * 4, ents=["B-PER"] * 4)
    given.spans["chunks"] = [given[:2]]
    result = evaluate(nlp, [Example(given, gold)])
    found = result.examples[0].predicted.user_data["input"]
    # In spaCy, the first token always starts a sentence.
    assert [start for start, *_ in found][1:] == (starts or [None] * 4)[1:]
    assert {(iob, tag, spans) for _, iob, tag, spans in found} == {(0, 0, False)}
    assert [token.is_sent_start for token in given][1:] == (starts or [None] * 4)[1:]


@pytest.mark.parametrize("words", [[], ["Kew", "is"], ["Kew", "is", "green", "!"]])
def test_sentence_boundaries_of_docs_with_other_tokens_are_ignored(nlp, words):
    nlp.add_pipe("evaluation_test_spy", first=True)
    given = Doc(nlp.vocab, words=words, sent_starts=[True] * len(words) or None)
    result = evaluate(nlp, [Example(given, gold_docs(nlp.vocab)[1])])
    found = result.examples[0].predicted.user_data["input"]
    assert [start for start, *_ in found][1:] == [None, None, None]


def test_a_doc_without_tokens_is_evaluated(nlp):
    empty = Doc(nlp.vocab)
    result = evaluate(nlp, [Example(Doc(nlp.vocab), empty), *gold_examples(nlp)])
    assert [len(eg.predicted) for eg in result.examples] == [0, 8, 4]


def test_scores_of_the_scorer_and_the_evaluation_are_equal(nlp):
    result = evaluate(nlp, gold_examples(nlp))
    scores = make_seqeval_scorer()(result.examples)
    micro = result.to_json()["entities"]["default"]["micro"]
    assert [scores["ents_p"], scores["ents_r"], scores["ents_f"]] == [
        micro["precision"],
        micro["recall"],
        micro["f1"],
    ]
    examples = [Example(Doc(nlp.vocab, words=[t.text for t in d]), d) for d in gold_docs(nlp.vocab)]
    spacys = nlp.evaluate(examples)
    assert spacys["ents_f"] == scores["ents_f"]
    assert spacys["ents_per_type"] == scores["ents_per_type"]


def test_tags_and_chunks():
    nlp = English()
    nlp.add_pipe("attribute_ruler").add([[{"IS_PUNCT": False}], [{"IS_PUNCT": True}]], {"TAG": "X"})
    ruler = nlp.add_pipe("span_ruler", config={"spans_key": "chunks"})
    ruler.add_patterns([{"label": "NP", "pattern": "Ada Lovelace"}])
    result = evaluate(nlp, gold_examples(nlp))
    assert "entities" not in result.scores
    # Eleven of twelve gold tags are X.
    assert result.scores["tags"].accuracy == pytest.approx(11 / 12)
    assert result.scores["chunks"].default == {"NP": Counts(1, 1, 1), "VP": Counts(1, 0, 0)}
    text = render(result)
    assert "tag accuracy  0.9167" in text
    assert "Chunks in doc.spans['chunks'], counted" in text
    assert "Entities" not in text


def test_entities_of_a_retokenizing_component_are_aligned(nlp):
    nlp.add_pipe("merge_entities")
    result = evaluate(nlp, gold_examples(nlp))
    assert len(result.examples[0].predicted) == len(FIRST) - 1
    assert result.scores["entities"].default == {"LOC": Counts(2, 1, 1), "PER": Counts(2, 3, 1)}


def test_partly_annotated_data(nlp):
    unannotated = Doc(nlp.vocab, words=["Kew"])
    result = evaluate(
        nlp, [*gold_examples(nlp), *(Example(doc, doc) for doc in (unannotated, Doc(nlp.vocab)))]
    )
    assert (result.documents, result.tokens) == (4, 13)
    assert result.scores["entities"].default["PER"] == Counts(2, 3, 1)


@pytest.mark.parametrize("words", [None, []])
def test_no_examples(nlp, words):
    docs = [] if words is None else [Doc(nlp.vocab, words=words)]
    with pytest.raises(ValueError, match="No gold example has tokens"):
        evaluate(nlp, [Example(doc, doc) for doc in docs])


def test_gold_without_entities(nlp):
    doc = Doc(nlp.vocab, words=SECOND, ents=["O"] * 4)
    with pytest.raises(
        ValueError, match=r"gold data contain nothing to score, .* predicts entities\."
    ):
        evaluate(nlp, [Example(doc, doc)])


def test_gold_spans_without_tokens_are_nothing_to_score(nlp):
    gold, predicted = Doc(nlp.vocab, words=SECOND), Doc(nlp.vocab, words=SECOND)
    gold.spans["chunks"] = [Span(gold, 1, 1, "NP")]
    predicted.spans["chunks"] = [Span(predicted, 0, 1, "NP")]
    with pytest.raises(ValueError, match=r"nothing to score, but the file m predicts chunks"):
        score_predictions([Example(predicted, gold)], model="m")


def test_pipeline_without_predictions():
    nlp = English()
    with pytest.raises(
        ValueError,
        match=r"entities and chunks and tags, .*\(no components\) predicts nothing to score",
    ):
        evaluate(nlp, gold_examples(nlp))


TAGS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.lists(st.tuples(st.sampled_from(TAGS), st.sampled_from(TAGS)), min_size=1, max_size=9),
        min_size=1,
        max_size=4,
    )
)
def test_averages_are_seqevals(sequences):
    gold = [[g for g, _ in seq] for seq in sequences]
    predicted = [[p for _, p in seq] for seq in sequences]
    report = SpanReport(
        count_entities(gold, predicted), count_entities(gold, predicted, mode="strict")
    )
    assume(all(sum(c.gold for c in side.values()) for side in (report.default, report.strict)))
    for mode, options in (("default", {}), ("strict", {"mode": "strict", "scheme": IOB2})):
        expected = classification_report(
            gold, predicted, output_dict=True, zero_division=0, **options
        )
        numbers = report.to_json()[mode]
        for average in ("micro", "macro", "weighted"):
            row = expected[f"{average} avg"]
            assert numbers[average]["precision"] == row["precision"]
            assert numbers[average]["recall"] == row["recall"]
            assert numbers[average]["f1"] == row["f1-score"]
            assert numbers[average]["support"] == row["support"]


APP = typer.Typer()
APP.command()(evaluate_command)


COLUMNS = """\
Ada NNP B-NP B-PER
Lovelace NNP I-NP I-PER
met VBD B-VP O
Charles NNP B-NP B-PER
Babbage NNP I-NP I-PER
in IN B-PP O
London NNP B-NP B-LOC
. . O O

Kew NNP B-NP B-LOC
is VBZ B-VP O
green JJ B-ADJP O
. . O O
"""


@pytest.fixture
def command(nlp, tmp_path):
    """Run the command on a saved pipeline and a column file, or a .spacy file."""
    nlp.to_disk(tmp_path / "model")
    (tmp_path / "gold.conll").write_text(COLUMNS)
    DocBin(docs=gold_docs(nlp.vocab)).to_disk(tmp_path / "gold.spacy")

    def run(*arguments, model="model", data="gold.conll"):
        paths = [str(tmp_path / model), str(tmp_path / data)]
        return CliRunner().invoke(APP, [*paths, *map(str, arguments)])

    return run


@pytest.mark.parametrize("data", ["gold.conll", "gold.spacy"])
def test_command(command, tmp_path, data):
    numbers, predictions = tmp_path / "numbers.json", tmp_path / "predictions.txt"
    result = command("--json", numbers, "--predictions", predictions, data=data)
    assert result.exit_code == 0, result.output
    assert "micro avg     0.5000    0.5000    0.5000         4" in result.stdout
    content = json.loads(numbers.read_text())
    assert content["entities"]["default"]["micro"]["f1"] == 0.5
    assert content["documents"] == 2
    assert content["split"] == ""  # a file has no splits
    assert content["command"]
    lines = predictions.read_text().splitlines()
    assert lines[:2] == ["Ada B-PER B-PER", "Lovelace I-PER I-PER"]
    assert lines.index("") == len(FIRST)
    assert conlleval(lines).prf() == (0.5, 0.5, 0.5)


def test_command_joins_sentences(command, tmp_path):
    numbers, predictions = tmp_path / "numbers.json", tmp_path / "predictions.txt"
    result = command("--n-sents", 2, "--json", numbers, "--predictions", predictions)
    assert result.exit_code == 0, result.output
    assert json.loads(numbers.read_text())["documents"] == 1
    assert predictions.read_text().splitlines().index("") == len(FIRST)


def test_command_scores_spans_under_any_key(command, tmp_path):
    nlp = English()
    ruler = nlp.add_pipe("span_ruler", config={"spans_key": "phrases"})
    ruler.add_patterns([{"label": "NP", "pattern": "Ada Lovelace"}])
    nlp.to_disk(tmp_path / "chunker")
    predictions = tmp_path / "predictions.txt"
    result = command("--spans-key", "phrases", "--predictions", predictions, model="chunker")
    assert result.exit_code == 0, result.output
    assert "Chunks in doc.spans['phrases']" in result.stdout
    assert predictions.read_text().startswith("Ada B-NP B-NP\nLovelace I-NP I-NP\nmet B-VP O\n")


@pytest.mark.parametrize(
    ("paths", "options", "message"),
    [
        ({"model": "none"}, [], "none' as a spaCy pipeline. It must be a folder"),
        ({"data": "none.spacy"}, [], "none.spacy"),
        ({"data": "gold.spacy"}, ["--n-sents", 2], "--sentences-per-doc"),
    ],
)
def test_errors_of_the_command(command, paths, options, message):
    result = command(*options, **paths)
    assert result.exit_code == 1
    assert message in result.stderr
    assert result.stderr.startswith("Error: ")


def test_command_cannot_write_tags_for_conlleval(command, tmp_path):
    nlp = English()
    nlp.add_pipe("attribute_ruler").add([[{"IS_ALPHA": True}]], {"TAG": "X"})
    nlp.to_disk(tmp_path / "tagger")
    result = command("--predictions", tmp_path / "out.txt", model="tagger")
    assert result.exit_code == 1
    assert "--predictions: there are only tags" in result.stderr


def test_command_scores_a_file_of_predictions(command, tmp_path):
    """A pipeline and the file of its predictions have exactly the same scores."""
    columns, first, again = (tmp_path / name for name in ("p.txt", "first.json", "again.json"))
    assert command("--json", first, "--predictions", columns).exit_code == 0
    result = command("--json", again, model="p.txt")
    assert result.exit_code == 0, result.output
    assert "pipes" not in result.stdout
    assert "words/s" not in result.stdout
    first, again = (json.loads(path.read_text()) for path in (first, again))
    for numbers in (first, again):
        assert numbers["entities"]["default"]["micro"]["f1"] == 0.5
    assert again["entities"] == first["entities"]
    assert again["analysis"]["entities"]["kinds"] == first["analysis"]["entities"]["kinds"]
    assert (again["seconds"], again["words_per_second"], again["pipes"]) == (None, None, [])


def test_command_compares_systems(command, tmp_path):
    other = English()
    ruler = other.add_pipe("entity_ruler")
    ruler.add_patterns(
        [{"label": "PER", "pattern": "Ada Lovelace"}, {"label": "LOC", "pattern": "Kew"}]
    )
    other.to_disk(tmp_path / "other")
    numbers, page = tmp_path / "numbers.json", tmp_path / "page.html"
    against = ["--against", tmp_path / "other"]
    result = command(*against, "--json", numbers, "--report", page)
    assert result.exit_code == 0, result.output
    content = json.loads(numbers.read_text())
    # The fixture has two true and two false positives, `other` two true positives.
    scores = content["comparison"]["entities"]["micro"]["f1"]
    assert scores["a"] == content["entities"]["default"]["micro"]["f1"] == 0.5
    assert scores["b"] == content["against"]["entities"]["default"]["micro"]["f1"]
    assert scores["b"] == pytest.approx(2 / 3)
    assert scores["difference"] == 0.5 - scores["b"]
    overlap = content["comparison"]["entities"]["gold"]
    assert overlap == {"both": 1, "only_a": 1, "only_b": 1, "neither": 1}
    assert content["comparison"]["words_per_second"]["b"] > 0
    rows = [line.split()[:4] for line in result.stdout.splitlines()]
    assert ["F1", "50.00", "66.67", "−16.67"] in rows
    text = page.read_text(encoding="utf8")
    assert '<td data-label="other">66.67</td><td data-label="difference">−16.67</td>' in text
    assert "model against other" in text


def test_command_compares_a_pipeline_with_its_own_predictions(command, tmp_path):
    columns, numbers = tmp_path / "p.txt", tmp_path / "numbers.json"
    assert command("--predictions", columns, "--n-sents", 2).exit_code == 0
    for model, against in (("model", "p.txt"), ("p.txt", "model"), ("p.txt", "p.txt")):
        result = command("--against", tmp_path / against, "--json", numbers, model=model)
        assert result.exit_code == 0, result.output
        found = json.loads(numbers.read_text())["comparison"]["entities"]
        for scores in (found["micro"], *found["per_type"].values()):
            for score in scores.values():
                assert (score["difference"], score["interval"], score["p"]) == (0.0, [0.0, 0.0], 1)
        assert found["gold"] == {"both": 2, "only_a": 0, "only_b": 0, "neither": 2}


def test_documents_of_the_data_are_resampled(command, tmp_path):
    """Docs are single sentences. The first two are one document."""
    (tmp_path / "gold.conll").write_text(f"{COLUMNS}\n-DOCSTART- -X- O O\n\nKew NNP B-NP B-LOC\n")
    numbers = tmp_path / "numbers.json"
    result = command("--against", tmp_path / "model", "--json", numbers)
    assert result.exit_code == 0, result.output
    content = json.loads(numbers.read_text())
    assert (content["documents"], content["comparison"]["entities"]["documents"]) == (3, 2)
    assert "resamples of 2 documents" in result.stdout
    analysis = content["analysis"]["entities"]
    assert (analysis["documents"], analysis["docs"], analysis["sentences"]) == (2, 3, 3)


def test_gold_and_predicted_labels_are_renamed(command, tmp_path):
    """The pipeline predicts PERSON for PER, and a DATE. The file has HUMAN for PER."""
    other = English()
    ruler = other.add_pipe("entity_ruler")
    patterns = {
        "Ada Lovelace": "PERSON",
        "Charles Babbage": "PERSON",
        "Kew": "LOC",
        "green": "DATE",
    }
    ruler.add_patterns([{"label": label, "pattern": text} for text, label in patterns.items()])
    other.to_disk(tmp_path / "other")
    (tmp_path / "file.txt").write_text(
        "".join(
            f"{row.split()[0]} {row.split()[-1].replace('PER', 'HUMAN')}\n" if row else "\n"
            for row in COLUMNS.split("\n")
        )
    )
    result = command(model="other")
    assert "other predicts the labels DATE, PERSON, which are not in the gold data" in result.stderr
    assert "The gold data have the labels PER, which are never predicted" in result.stderr
    numbers, page, columns = (tmp_path / name for name in ("n.json", "page.html", "p.txt"))
    options = ["--train", tmp_path / "gold.conll", "--json", numbers, "--report", page]
    names = ["--rename=PERSON=PER", "--rename=DATE=", "--rename=HUMAN=PER", "--rename=LOC=PLACE"]
    result = command(
        *options,
        "--against",
        tmp_path / "file.txt",
        "--predictions",
        columns,
        *names,
        model="other",
    )
    assert result.exit_code == 0, result.output
    content = json.loads(numbers.read_text())
    found = content["entities"]["default"]["per_type"]
    assert {label: list(numbers.values())[3:] for label, numbers in found.items()} == {
        "PER": [2, 2, 2],  # gold, predicted, correct
        "PLACE": [2, 1, 1],
    }
    assert content["against"]["entities"]["default"]["micro"]["f1"] == 1.0
    assert set(content["comparison"]["entities"]["per_type"]) == {"PER", "PLACE"}
    assert "Note: " not in result.stderr
    novelty = content["analysis"]["entities"]["by_novelty"]
    assert [(row["name"], row["gold"]) for row in novelty] == [("seen with this type", 4)]
    assert columns.read_text().startswith("Ada B-PER B-PER\n")


@pytest.mark.parametrize("model", ["model", "gold.conll"])
def test_renaming_an_unknown_label_raises(command, model):
    result = command("--rename", "GPE=LOC", model=model)
    assert result.exit_code == 1
    assert "--rename GPE: neither the gold data nor" in result.stderr
    assert "has this label. The labels are: ADJP, LOC, NP, PER, PP, VP\n" in result.stderr
    # A label of only the gold data is valid.
    assert command("--rename", "NP=X", model=model).exit_code == 0


def test_declared_labels_of_a_pipeline():
    nlp = English()
    nlp.add_pipe("entity_ruler").add_patterns([{"label": "PER", "pattern": "Ada"}])
    nlp.add_pipe("span_ruler").add_patterns([{"label": "NP", "pattern": "Ada"}])
    nlp.add_pipe("tagger").add_label("NNP")
    nlp.add_pipe("sentencizer")
    assert declared_labels(nlp) == {"PER", "NP"}
    nlp.add_pipe("merge_entities")  # a function without `labels`
    assert declared_labels(nlp) is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "other.txt: no such file of predictions"),
        ("Ada\n", "other.txt:1: only one column"),
        (
            "Ada B-PER\nByron I-PER\n",
            "other.txt:2: the token is 'Byron', but the token of the gold data is 'Lovelace'",
        ),
    ],
)
def test_errors_of_a_file_of_predictions(command, tmp_path, content, message):
    other = tmp_path / "other.txt"
    if content is not None:
        other.write_text(content)
    for options, model in ((["--against", other], "model"), ([], "other.txt")):
        result = command(*options, model=model)
        assert result.exit_code == 1
        assert message in result.stderr
        # The file is read and checked before a pipeline runs.
        assert result.stdout == ""


def test_systems_without_a_common_task_cannot_be_compared(command, tmp_path):
    nlp = English()
    nlp.add_pipe("attribute_ruler").add([[{"IS_ALPHA": True}]], {"TAG": "X"})
    nlp.to_disk(tmp_path / "tagger")
    result = command("--against", tmp_path / "tagger")
    assert result.exit_code == 1
    assert "model was scored on entities, " in result.stderr
    assert "tagger on tags. Both must predict entities, chunks or tags" in result.stderr


def test_a_folder_that_is_not_a_pipeline_raises(tmp_path):
    with pytest.raises(ValueError, match=r"config\.cfg and meta\.json, .* output/model-best"):
        load_pipeline(str(tmp_path))


@Language.factory("evaluation_test_device", default_config={"device": "cpu"})
def make_component(nlp, name, device):
    return lambda doc: doc


def test_device_is_set_on_the_components_that_have_the_setting(nlp, tmp_path):
    nlp.to_disk(tmp_path / "plain")
    with pytest.raises(ValueError, match=r"entity_ruler\) has the setting 'device': use `gpu_id`"):
        load_pipeline(str(tmp_path / "plain"), device="cuda:0")
    nlp.add_pipe("evaluation_test_device")
    nlp.to_disk(tmp_path / "torch")
    loaded = load_pipeline(str(tmp_path / "torch"), device="cuda:0")
    assert loaded.config["components"]["evaluation_test_device"]["device"] == "cuda:0"
    assert load_pipeline(str(tmp_path / "torch")).config["components"][
        "evaluation_test_device"
    ] == {"factory": "evaluation_test_device", "device": "cpu"}


@pytest.mark.parametrize(("case", "correct"), [(None, 2), ("lower", 0), ("upper", 1), ("title", 2)])
def test_the_texts_in_another_case(command, tmp_path, case, correct):
    rules = English()
    ruler = rules.add_pipe("entity_ruler")
    patterns = {"Ada": "PER", "NATO": "ORG"}
    ruler.add_patterns([{"label": label, "pattern": text} for text, label in patterns.items()])
    rules.to_disk(tmp_path / "rules")
    gold = tmp_path / "cases.conll"
    gold.write_text("Ada B-PER\nand O\nNATO B-ORG\n\nin O\nRom B-LOC\n", encoding="utf8")
    numbers = tmp_path / "numbers.json"
    options = [] if case is None else ["--case", case]
    result = command("--json", numbers, *options, model="rules", data="cases.conll")
    assert result.exit_code == 0, result.output
    content = json.loads(numbers.read_text())
    assert content["entities"]["default"]["micro"]["correct"] == correct
    assert content["data"] == (str(gold) if case is None else f"{gold} ({case} case)")
