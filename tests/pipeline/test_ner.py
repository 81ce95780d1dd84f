import pickle

import numpy as np
import pytest
import spacy
from hypotheses import all_hypotheses
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import CRF, TEXTS, TINY, annotate, build, read_examples, set_logits, train
from spacy.tokens import Doc, DocBin, Span
from spacy.training import Example
from spacy.vocab import Vocab

from bigru_tagger.pipeline.spans import Tokens

VOCAB = Vocab()
LABELS = ["LOC", "ORG", "work-of-art"]


@pytest.fixture
def extension():
    """The name of an extension attribute that is removed after the test."""
    yield "certainty"
    if Span.has_extension("certainty"):
        Span.remove_extension("certainty")


@pytest.fixture(scope="module")
def pipe():
    """An untrained component, for tests that do not predict."""
    return build("bigru_ner").get_pipe("bigru_ner")


def entities(doc):
    return [(ent.start, ent.end, ent.label_) for ent in doc.ents]


def force(monkeypatch, pipe, doc, spans):
    """Replace the model's logits so that these spans have the highest scores."""
    scores = np.zeros((len(doc), len(pipe.tags)), dtype=np.float32)
    scores[:, 0] = 10.0
    for start, end, label in spans:
        parts = "U" if end - start == 1 else "B" + "I" * (end - start - 2) + "L"
        for token, part in zip(range(start, end), parts, strict=True):
            scores[token, pipe.tags.index(f"{part}-{label}")] = 20.0
    set_logits(monkeypatch, pipe, scores)
    return pipe(doc)


# --- gold annotation


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            ["Ada", "Lovelace", "saw", "New", "York", "."],
            ["B-PER", "L-PER", "O", "B-LOC", "L-LOC", "O"],
        ),
        (
            ["Ada", "Love", "lace", "saw", "New", "York."],
            ["B-PER", "I-PER", "L-PER", "O", None, None],
        ),
        (["AdaLovelace", "saw", "NewYork", "."], ["U-PER", "O", "U-LOC", "O"]),
        (["Ada", "Lovelacesaw", "New", "York", "."], [None, None, "B-LOC", "L-LOC", "O"]),
    ],
)
def test_gold_is_aligned_with_the_predicted_tokens(pipe, words, expected):
    vocab = pipe.vocab
    gold = Doc(vocab, words=["Ada", "Lovelace", "saw", "New", "York", "."])
    gold = annotate(gold, [(0, 2, "PER"), (3, 5, "LOC")])
    assert pipe.gold_tags(Example(Doc(vocab, words=words), gold)) == expected


def test_missing_tokens_have_no_gold_tag_and_no_gradient(pipe):
    words = ["Ada", "saw", "New", "York", "again"]
    gold = annotate(Doc(pipe.vocab, words=words), [(2, 4, "LOC")], missing=[0, 4])
    example = Example(Doc(pipe.vocab, words=words), gold)
    assert pipe.gold_tags(example) == [None, "O", "B-LOC", "L-LOC", None]
    _, (gradient,) = pipe.get_loss([example], [np.zeros((5, len(pipe.tags)), dtype="float32")])
    assert gradient.any(axis=1).tolist() == [False, True, True, True, False]


def test_partial_annotation_can_be_learned():
    nlp = build("bigru_ner")
    pipe = nlp.get_pipe("bigru_ner")
    words = ["Ada", "saw", "New", "York", "again"]
    gold = annotate(Doc(nlp.vocab, words=words), [(2, 4, "LOC")], missing=[0, 4])
    for _ in range(40):
        nlp.update([Example(Doc(nlp.vocab, words=words), gold)])
    doc = pipe(Doc(nlp.vocab, words=words))
    assert (2, 4, "LOC") in entities(doc)


# A label starts an entity and "I" continues it. Tokens can also be outside, missing or blocked.
ANNOTATIONS = st.lists(
    st.tuples(
        st.sampled_from(["the", "York", "x", " ", "\n"]),
        st.sampled_from([*LABELS, "I", "I", "O", "missing", "blocked"]),
    ),
    max_size=12,
)


@settings(max_examples=75, deadline=None)
@given(tokens=ANNOTATIONS, default=st.sampled_from(["outside", "missing"]))
def test_fast_gold_equals_spacys_alignment(pipe, tokens, default):
    doc = Doc(VOCAB, words=[word for word, _ in tokens])
    spans, extra = [], {"missing": [], "blocked": [], "outside": []}
    for i, (_, kind) in enumerate(tokens):
        if kind in LABELS:
            spans.append(Span(doc, i, i + 1, label=kind))
        elif kind == "I" and spans and spans[-1].end == i:
            spans[-1] = Span(doc, spans[-1].start, i + 1, label=spans[-1].label)
        elif kind != "I":
            extra["outside" if kind == "O" else kind].append(doc[i : i + 1])
    doc.set_ents(spans, **extra, default=default)
    example = Example(Doc(VOCAB, words=[word for word, _ in tokens]), doc)
    assert pipe.gold_tags(example) == [
        None if tag == "-" else tag for tag in example.get_aligned_ner()
    ]


# --- predicted entities


def test_tokens_without_entities_are_outside_not_missing(ner):
    doc = ner("Nothing happened yesterday .")
    assert entities(doc) == []
    assert [token.ent_iob_ for token in doc] == ["O"] * 4
    assert doc.has_annotation("ENT_IOB")


def test_no_entity_starts_or_ends_with_white_space(monkeypatch, ner):
    pipe = ner.get_pipe("bigru_ner")
    words = ["met", " ", "Ada", "\n", "Lovelace", "\t", "."]
    doc = Doc(ner.vocab, words=words)
    found = force(monkeypatch, pipe, doc, [(2, 5, "PER")])
    assert entities(found) == [(2, 5, "PER")]  # white space inside is valid
    doc = Doc(ner.vocab, words=words)
    for start, end, _ in entities(force(monkeypatch, pipe, doc, [(1, 4, "PER"), (5, 6, "LOC")])):
        assert not doc[start].is_space
        assert not doc[end - 1].is_space
    assert doc.has_annotation("ENT_IOB")


def test_a_doc_of_white_space_has_no_entities(monkeypatch, ner):
    doc = Doc(ner.vocab, words=[" ", "\n", "\t"])
    assert entities(force(monkeypatch, ner.get_pipe("bigru_ner"), doc, [(0, 3, "PER")])) == []


def test_no_entity_crosses_a_sentence_boundary(monkeypatch, ner):
    pipe = ner.get_pipe("bigru_ner")
    words = ["in", "New", "York", "Ada"]
    for starts, expected in [
        ([True, None, None, None], [(1, 3, "LOC")]),
        ([True, False, False, True], [(1, 3, "LOC")]),
        ([True, False, True, False], []),
    ]:
        doc = Doc(ner.vocab, words=words, sent_starts=starts)
        # With a boundary inside the entity, B and L (20 each) are invalid, so O (10) wins.
        assert entities(force(monkeypatch, pipe, doc, [(1, 3, "LOC")])) == expected


def test_a_crf_decodes_whole_docs(monkeypatch):
    nlp = build("bigru_ner", model=CRF)
    pipe = nlp.get_pipe("bigru_ner")
    doc = Doc(nlp.vocab, words=["in", "New", "York"], sent_starts=[True, False, True])
    assert entities(force(monkeypatch, pipe, doc, [(1, 3, "LOC")])) == [(1, 3, "LOC")]


@settings(max_examples=50, deadline=None)
@given(
    docs=st.lists(
        st.lists(st.sampled_from([True, False, None]), max_size=5), min_size=1, max_size=4
    )
)
def test_sequences_end_at_docs_and_sentence_boundaries(docs):
    read = Tokens.from_docs(
        [Doc(VOCAB, words=["a"] * len(starts), sent_starts=starts or None) for starts in docs]
    )
    expected = []
    for starts in docs:
        for position, starts_here in enumerate(starts):
            if position == 0 or starts_here:
                expected.append(0)
            expected[-1] += 1
    assert read.lengths.tolist() == expected


def test_entities_of_an_earlier_component_are_kept():
    nlp = build("bigru_ner")
    train(nlp)
    ruler = nlp.add_pipe("entity_ruler", before="bigru_ner")
    ruler.add_patterns([{"label": "CITY", "pattern": "York City", "id": "nyc"}])
    doc = nlp("Ships leave New York City daily for Babbage .")
    assert (3, 5, "CITY") in entities(doc)
    assert [ent.ent_id_ for ent in doc.ents if ent.label_ == "CITY"] == ["nyc"]
    assert len(doc.ents) > 1
    assert all(ent.end <= 3 or ent.start >= 5 for ent in doc.ents if ent.label_ != "CITY")


def test_blocked_tokens_stay_outside(monkeypatch, ner):
    pipe = ner.get_pipe("bigru_ner")
    doc = Doc(ner.vocab, words=TEXTS[1].split())
    doc.set_ents([], blocked=[doc[3:4]], default="missing")
    force(monkeypatch, pipe, doc, [(2, 5, "LOC"), (0, 1, "PER")])
    assert (0, 1, "PER") in entities(doc)
    assert all(not ent.start <= 3 < ent.end for ent in doc.ents)
    assert doc[3].ent_iob_ == "B"  # spaCy's mark of a blocked token
    assert doc[3].ent_type_ == ""
    again = entities(doc)
    assert entities(pipe(doc)) == again  # a second run predicts the same


# --- confidence


def test_confidence_is_the_probability_of_the_entity(monkeypatch, ner):
    pipe = ner.get_pipe("bigru_ner")
    doc = Doc(ner.vocab, words=["Ada"])
    scores = np.zeros((1, len(pipe.tags)), dtype=np.float32)
    scores[0, pipe.tags.index("U-PER")] = np.log(6.0)
    set_logits(monkeypatch, pipe, scores)
    (ent,) = pipe(doc).ents
    # The valid tags of a single token are O and U- of three labels: 6 / (6 + 1 + 1 + 1).
    assert ent._.confidence == pytest.approx(6 / 9)


def test_confidence_of_trained_entities_is_high_and_serialized(ner):
    docs = [ner(text) for text in TEXTS]
    expected = [[ent._.confidence for ent in doc.ents] for doc in docs]
    assert all(0.9 < confidence <= 1.0 for part in expected for confidence in part)
    assert sum(map(len, expected)) == 7
    stored = DocBin(docs=docs, store_user_data=True).to_bytes()
    copies = [
        [Doc(ner.vocab).from_bytes(doc.to_bytes()) for doc in docs],
        list(DocBin().from_bytes(stored).get_docs(ner.vocab)),
    ]
    for read_back in copies:
        assert [[ent._.confidence for ent in doc.ents] for doc in read_back] == expected


def test_confidence_of_other_entities_is_none():
    nlp = build("bigru_ner")
    nlp.add_pipe("entity_ruler", before="bigru_ner").add_patterns(
        [{"label": "CITY", "pattern": "Oslo"}]
    )
    (city,) = [ent for ent in nlp("Oslo").ents if ent.label_ == "CITY"]
    assert city._.confidence is None


def test_the_config_sets_the_name_of_the_confidence_attribute(extension):
    nlp = build("bigru_ner", confidence=extension)
    train(nlp, steps=30)
    doc = nlp(TEXTS[0])
    assert len(doc.ents) == 3
    for ent in doc.ents:
        assert 0.0 < ent._.get(extension) <= 1.0
        assert ent._.confidence is None


def test_without_a_name_no_confidence_is_computed(monkeypatch):
    nlp = build("bigru_ner", confidence=None)
    train(nlp, steps=30)

    def never(*args):
        raise AssertionError("computed")

    monkeypatch.setattr("bigru_tagger.decoding.decoder.span_probabilities", never)
    doc = nlp(TEXTS[0])
    assert len(doc.ents) == 3
    assert doc.user_data == {}


def test_an_existing_extension_is_not_replaced(extension):
    Span.set_extension(extension, getter=lambda span: "mine")
    with pytest.warns(UserWarning, match=f"span._.{extension} has a getter or a method"):
        nlp = build("bigru_ner", confidence=extension)
    train(nlp, steps=30)
    doc = nlp(TEXTS[0])
    assert [ent._.get(extension) for ent in doc.ents] == ["mine"] * 3


def test_an_unpickled_component_registers_the_extension(extension):
    nlp = build("bigru_ner", confidence=extension)
    train(nlp, steps=30)
    expected = [ent._.get(extension) for ent in nlp(TEXTS[0]).ents]
    data = pickle.dumps(nlp)
    Span.remove_extension(extension)  # as in a new process
    again = pickle.loads(data)(TEXTS[0])
    assert [ent._.get(extension) for ent in again.ents] == pytest.approx(expected, abs=1e-6)


# --- the pipeline


def test_scores_have_spacys_names(ner):
    scores = ner.evaluate(read_examples(ner.vocab))
    assert [scores[f"ents_{key}"] for key in "prf"] == [1.0, 1.0, 1.0]
    assert sorted(scores["ents_per_type"]) == ["LOC", "ORG", "PER"]


def test_the_config_is_complete(ner):
    config = ner.get_pipe_config("bigru_ner")
    other = build("bigru_ner", model=TINY, seed=3)
    assert other.get_pipe_config("bigru_ner") == config
    assert list(config["model"]["embed"]) == ["words"]


def test_entities_below_the_threshold_are_dropped(monkeypatch, ner):
    pipe = ner.get_pipe("bigru_ner")
    scores = np.zeros((1, len(pipe.tags)), dtype=np.float32)
    scores[0, pipe.tags.index("U-PER")] = np.log(6.0)  # a probability of 6 / 9, as above
    set_logits(monkeypatch, pipe, scores)
    for threshold, n_entities in ((0.66, 1), (0.67, 0)):
        monkeypatch.setitem(pipe.cfg, "threshold", threshold)
        assert len(pipe(Doc(ner.vocab, words=["Ada"])).ents) == n_entities


def test_recall_bias_shifts_the_odds_of_entities(monkeypatch, ner):
    pipe = ner.get_pipe("bigru_ner")
    scores = np.zeros((1, len(pipe.tags)), dtype=np.float32)
    scores[0, 0] = np.log(4.0)  # O and U- of three labels have weights of 4, 2, 1 and 1
    scores[0, pipe.tags.index("U-PER")] = np.log(2.0)
    set_logits(monkeypatch, pipe, scores)
    assert not pipe(Doc(ner.vocab, words=["Ada"])).ents
    monkeypatch.setitem(pipe.cfg, "recall_bias", np.log(3.0))
    # The weights become 4, 6, 3 and 3.
    (entity,) = pipe(Doc(ner.vocab, words=["Ada"])).ents
    assert entity.label_ == "PER"
    assert entity._.confidence == pytest.approx(6 / 16)
    # White space is still no entity.
    assert not pipe(Doc(ner.vocab, words=[" "])).ents


# --- hypotheses, and the temperature


def test_temperature_changes_probabilities_but_not_entities(monkeypatch, ner):
    pipe = ner.get_pipe("bigru_ner")
    scores = np.zeros((1, len(pipe.tags)), dtype=np.float32)
    scores[0, pipe.tags.index("U-PER")] = np.log(9.0)  # 9 / 12 among O and three labels
    set_logits(monkeypatch, pipe, scores)
    monkeypatch.setitem(pipe.cfg, "temperature", 1.0)
    for temperature, expected in [(1.0, 9 / 12), (2.0, 3 / 6), (0.5, 81 / 84)]:
        pipe.temperature = temperature
        (entity,) = pipe(Doc(ner.vocab, words=["Ada"])).ents
        assert entity._.confidence == pytest.approx(expected)
    for temperature in (0.0, -1.0, np.inf, np.nan):
        with pytest.raises(ValueError, match="temperature must be above 0; got"):
            pipe.temperature = temperature


def test_temperature_also_divides_the_transition_scores_of_a_crf():
    nlp = build("bigru_ner", model=CRF)
    pipe = nlp.get_pipe("bigru_ner")
    docs = [Doc(nlp.vocab, words=["Ada", "saw", "York"])]
    scores = np.random.default_rng(0).normal(size=(3, len(pipe.tags)))
    scores[[0, 2], pipe.tags.index("U-LOC")] += 4.0
    scores[1, 0] += 4.0
    pipe.temperature = 3.0
    (found,) = pipe.find_spans(docs, scores.copy(), with_probabilities=True)
    hypotheses, totals = all_hypotheses(scores, pipe.transitions)
    weights = np.exp((totals - totals.max()) / 3.0)
    assert [(span.start, span.end, span.label) for span in found] == [(0, 1, "LOC"), (2, 3, "LOC")]
    for span in found:
        agree = hypotheses[:, span.start] == pipe.tags.index("U-LOC")
        expected = weights[agree].sum() / weights.sum()
        assert span.probability == pytest.approx(expected)


def test_temperature_is_saved(ner, tmp_path):
    nlp = build("bigru_ner", model=TINY)
    assert nlp.get_pipe("bigru_ner").temperature == 1.0
    nlp.get_pipe("bigru_ner").temperature = 2.5
    nlp.to_disk(tmp_path)
    assert spacy.load(tmp_path).get_pipe("bigru_ner").temperature == 2.5


def test_hypotheses_of_each_sentence(monkeypatch, ner):
    pipe = ner.get_pipe("bigru_ner")
    doc = Doc(ner.vocab, words=["Ada", "York"], sent_starts=[True, True])
    scores = np.full((2, len(pipe.tags)), -np.inf, dtype=np.float32)
    # Weights of "Ada": 1 for O, 6 for PER, 3 for LOC. Weights of "York": 1 for O, 4 for LOC.
    for token, tag, weight in [(0, "U-PER", 6), (0, "U-LOC", 3), (1, "U-LOC", 4)]:
        scores[token, pipe.tags.index(tag)] = np.log(weight)
    scores[:, 0] = 0.0
    set_logits(monkeypatch, pipe, scores)
    ((first, second),) = pipe.hypotheses([doc], 2)
    assert [[(span.start, span.label) for span in hypothesis.spans] for hypothesis in first] == [
        [(0, "PER")],
        [(0, "LOC")],
    ]
    assert [hypothesis.probability for hypothesis in first] == pytest.approx([6 / 10, 3 / 10])
    assert [[(span.start, span.label) for span in hypothesis.spans] for hypothesis in second] == [
        [(1, "LOC")],
        [],
    ]
    assert [hypothesis.probability for hypothesis in second] == pytest.approx([4 / 5, 1 / 5])
    assert [(hypothesis.start, hypothesis.end) for hypothesis in second] == [(1, 2)] * 2
    assert second[0].spans[0].probability == pytest.approx(4 / 5)
    with pytest.raises(ValueError, match="'n_best' must be at least 1; got 0"):
        pipe.hypotheses([doc], 0)


def test_probabilities_of_all_hypotheses_sum_to_one(ner):
    pipe = ner.get_pipe("bigru_ner")
    docs = [Doc(ner.vocab, words=["Ada", "saw", "York"]), Doc(ner.vocab)]
    (whole,), empty = pipe.hypotheses(docs, 1000)
    assert sum(hypothesis.probability for hypothesis in whole) == pytest.approx(1.0)
    assert [hypothesis.probability for hypothesis in whole] == sorted(
        (hypothesis.probability for hypothesis in whole), reverse=True
    )
    assert list(whole[0].spans) == pipe.predict(docs)[0]
    assert empty == []
