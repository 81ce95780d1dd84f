"""Tests of the case augmenter, and of spaCy's augmenters in the readers of this package."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
import spacy
from hypothesis import given, settings
from hypothesis import strategies as st
from spacy import util
from spacy.tokens import Doc, DocBin, Span, SpanGroup, Token
from spacy.training import Example
from thinc.api import fix_random_seed

from bigru_tagger.corpus.augment import CASES, CaseAugmenter, augment, change_example, change_words
from bigru_tagger.corpus.column_corpus import ConllCorpus
from bigru_tagger.corpus.corpus import AnyCorpus
from bigru_tagger.corpus.readers import HFCorpus
from bigru_tagger.corpus.sentences import CorpusError
from bigru_tagger.pipeline.ner import biluo
from bigru_tagger.tasks import ENTITIES

COLUMNS = """-DOCSTART- O O O

Straße NNP I-NP B-LOC
in IN I-PP O
İzmir NNP I-NP I-LOC

don't VB I-VP O
NATO NNP I-NP B-ORG

-DOCSTART- O O O

Ada NNP I-NP B-PER
"""


def describe(doc):
    """Everything that must survive."""
    return {
        "words": [token.text for token in doc],
        "spaces": None if doc.has_unknown_spaces else [token.whitespace_ for token in doc],
        "starts": [token.is_sent_start for token in doc],
        "entities": [(e.start, e.end, e.label_, e.kb_id_, e.id_) for e in doc.ents],
        "iob": doc.to_array("ENT_IOB").tolist(),
        "tags": [(t.tag_, t.pos_, str(t.morph), t.lemma_, t.dep_, t.head.i) for t in doc],
        "spans": {
            key: ([(s.start, s.end, s.label_) for s in group], group.attrs)
            for key, group in doc.spans.items()
        },
        "cats": doc.cats,
    }


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("lower", ["straße", "i̇zmir", "don't", "nato", "ﬁne", "…"]),
        ("upper", ["STRASSE", "İZMIR", "DON'T", "NATO", "FINE", "…"]),
        ("title", ["Straße", "İzmir", "Don't", "NATO", "Fine", "…"]),
    ],
)
def test_words_by_case(case, expected):
    words = ["Straße", "İzmir", "don't", "NATO", "ﬁne", "…"]
    assert [CASES[case](word) for word in words] == expected


def change_case(doc, case):
    return change_words(doc, [CASES[case](token.text) for token in doc])


def full_doc(vocab, *, parsed=False):
    """A Doc with all kinds of annotation, among it a blocked and an unknown token."""
    words = ["Straße", "in", "İzmir", "by", "Ada", "Fuß"]
    doc = Doc(
        vocab,
        words=words,
        spaces=[True, True, True, False, True, False],
        tags=["NNP", "IN", "NNP", "IN", "NNP", "NN"],
        pos=["PROPN", "ADP", "PROPN", "ADP", "PROPN", "NOUN"],
        morphs=["Number=Sing", "", "", "", "", ""],
        lemmas=[word.lower() for word in words],
        **(
            {"heads": [0, 0, 1, 3, 3, 3], "deps": ["ROOT", "prep", "pobj", "ROOT", "pobj", "x"]}
            if parsed
            else {"sent_starts": [True, False, False, True, False, None]}
        ),
    )
    place = Span(doc, 0, 3, "LOC", kb_id="Q1", span_id="e1")
    doc.set_ents([place], blocked=[doc[3:4]], missing=[doc[5:6]], default="outside")
    group = [Span(doc, 0, 1, "A"), Span(doc, 0, 3, "B")]
    doc.spans["layers"] = SpanGroup(doc, name="layers", attrs={"scores": [0.5, 1.0]}, spans=group)
    doc.cats = {"news": 1.0}
    doc.user_data["bigru_tagger.soft_targets"] = "outputs"
    doc._.training_weight = 2.0
    return doc


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("parsed", [True, False])
def test_all_annotation_survives(case, parsed):
    doc = full_doc(spacy.blank("en").vocab, parsed=parsed)
    before = describe(doc)
    changed = change_case(doc, case)
    expected = {**before, "words": [CASES[case](word) for word in before["words"]]}
    assert describe(changed) == expected
    assert biluo(changed) == ["B-LOC", "I-LOC", "L-LOC", None, "O", None]
    assert changed.user_data["bigru_tagger.soft_targets"] == "outputs"
    assert changed._.training_weight == 2.0
    assert describe(doc) == before


def test_attributes_of_tokens_and_spans_move_with_the_words():
    Span.set_extension("note", default=None)
    Token.set_extension("note", default=None)
    try:
        doc = full_doc(spacy.blank("en").vocab)
        doc[0:3]._.note = "a place"
        doc[5]._.note = "a foot"
        changed = change_case(doc, "upper")
        assert changed.text == "STRASSE IN İZMIR BYADA FUSS"
        assert changed[0:3]._.note == "a place"
        assert changed[5]._.note == "a foot"
        assert [token._.note for token in changed[:5]] == [None] * 5
    finally:
        Span.remove_extension("note")
        Token.remove_extension("note")


@settings(max_examples=50, deadline=None)
@given(
    words=st.lists(st.text(min_size=1, max_size=6), min_size=1, max_size=6),
    case=st.sampled_from(sorted(CASES)),
    seed=st.integers(0, 99),
)
def test_any_words_keep_tokens_and_entities(words, case, seed):
    vocab = spacy.blank("xx").vocab
    rng = np.random.default_rng(seed)
    doc = Doc(
        vocab, words=words, ents=[["O", "B-A", "B-B"][i] for i in rng.integers(3, size=len(words))]
    )
    changed = change_case(doc, case)
    assert [token.text for token in changed] == [CASES[case](word) for word in words]
    assert biluo(changed) == biluo(doc)
    example = Example(Doc(vocab, words=words), doc)
    assert change_example(example, case).get_aligned_ner() == biluo(doc)


# --- the augmenter


def test_levels_are_shares_of_the_texts_and_follow_the_seed():
    nlp = spacy.blank("en")
    doc = Doc(nlp.vocab, words=["a", "B"], ents=["O", "B-X"])
    example = Example(Doc(nlp.vocab, words=["a", "B"]), doc)
    augmenter = CaseAugmenter(0.1, 0.2, 0.3)
    runs = []
    for _ in range(2):
        fix_random_seed(3)
        found = [eg for _ in range(2000) for eg in augmenter(nlp, example)]
        runs.append([" ".join(token.text for token in eg.reference) for eg in found])
        assert sum(eg is example for eg in found) == runs[-1].count("a B")
    assert runs[0] == runs[1]
    # Four standard deviations are at most 90 texts.
    for text, share in [("a b", 0.1), ("A B", 0.5), ("a B", 0.4)]:
        assert runs[0].count(text) == pytest.approx(2000 * share, abs=90)


def test_each_level_by_itself():
    nlp = spacy.blank("en")
    words = ["de", "NATO", "Rome"]
    example = Example(Doc(nlp.vocab, words=words), Doc(nlp.vocab, words=words))
    for level, expected in [
        ("level_lower", ["de", "nato", "rome"]),
        ("level_upper", ["DE", "NATO", "ROME"]),
        ("level_title", ["De", "NATO", "Rome"]),
    ]:
        (found,) = CaseAugmenter(**{level: 1.0})(nlp, example)
        assert [token.text for token in found.x] == expected
        assert [token.text for token in found.y] == expected


@pytest.mark.parametrize("levels", [(-0.1, 0.0, 0.0), (0.5, 0.4, 0.2)])
def test_invalid_levels_are_an_error(levels):
    with pytest.raises(ValueError, match="at least 0, and their sum at most 1; got"):
        CaseAugmenter(*levels)


# --- in the readers


def write_columns(folder: Path) -> Path:
    path = folder / "data.conll"
    path.write_text(COLUMNS, encoding="utf8")
    return path


@pytest.fixture
def lower():
    return CaseAugmenter(level_lower=1.0)


def spacys(name, **settings):
    return util.registry.augmenters.get(name)(**settings)


def test_no_augmenter_is_the_default(tmp_path):
    nlp = spacy.blank("en")
    state = random.getstate()
    for reader in (ConllCorpus, AnyCorpus):
        corpus = reader(str(write_columns(tmp_path)))
        assert corpus.augmenter is None
        assert [eg.text for eg in corpus(nlp)][2] == "Ada "
    assert random.getstate() == state


@pytest.mark.parametrize("reader", [ConllCorpus, AnyCorpus])
@pytest.mark.parametrize("ours", [True, False])
def test_column_files(reader, ours, tmp_path, lower):
    nlp = spacy.blank("en")
    path = str(write_columns(tmp_path))
    augmenter = lower if ours else spacys("spacy.lower_case.v1", level=1.0)
    plain = list(reader(path, sentences_per_doc=0)(nlp))
    found = list(reader(path, sentences_per_doc=0, augmenter=augmenter)(nlp))
    assert len(found) == len(plain) == 2
    for before, after in zip(plain, found, strict=True):
        words = [token.lower_ for token in before.reference]
        assert [token.text for token in after.predicted] == words
        assert [token.text for token in after.reference] == words
        expected, actual = describe(before.reference), describe(after.reference)
        for name in ("entities", "starts"):
            assert actual[name] == expected[name]
        assert [token.tag_ for token in after.y] == [token.tag_ for token in before.y]
        assert [(s.start, s.end, s.label_) for s in after.y.spans["chunks"]] == [
            (s.start, s.end, s.label_) for s in before.y.spans["chunks"]
        ]
        assert [token.is_sent_start for token in after.x] == [t.is_sent_start for t in before.x]


@pytest.mark.parametrize("ours", [True, False])
def test_spacy_files(ours, tmp_path, lower):
    nlp = spacy.blank("en")
    doc = Doc(nlp.vocab, words=["İzmir", "fell"], ents=["B-LOC", "O"], sent_starts=[True, True])
    doc.spans["layers"] = [Span(doc, 0, 1, "CITY")]
    doc._.training_weight = 2.0
    path = tmp_path / "train.spacy"
    DocBin(docs=[doc], store_user_data=True).to_disk(path)
    augmenter = lower if ours else spacys("spacy.lower_case.v1", level=1.0)
    (found,) = AnyCorpus(str(path), augmenter=augmenter)(nlp)
    assert [token.text for token in found.x] == ["i̇zmir", "fell"]
    assert [(span.text, span.label_) for span in found.y.spans["layers"]] == [("i̇zmir", "CITY")]
    assert [token.is_sent_start for token in found.y] == [True, True]
    assert found.y._.training_weight == 2.0


def test_texts_with_offsets_and_weights(tmp_path, lower):
    nlp = spacy.blank("en")
    path = tmp_path / "data.jsonl"
    rows = [
        {"text": "In İzmir, Ada", "label": [[3, 8, "LOC"], [10, 13, "PER"]], "w": 2.5},
        {"text": "Nothing", "label": [], "w": 1},
    ]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf8")
    corpus = HFCorpus("json", data_files={"train": str(path)}, weight_column="w", augmenter=lower)
    first, second = corpus(nlp)
    assert first.text == "in i̇zmir, ada"
    assert [(ent.text, ent.label_) for ent in first.y.ents] == [("i̇zmir", "LOC"), ("ada", "PER")]
    assert [first.y._.training_weight, second.y._.training_weight] == [2.5, None]
    corpus.augmenter = spacys("spacy.lower_case.v1", level=1.0)
    assert [eg.y._.training_weight for eg in corpus(nlp)] == [2.5, None]


def test_weights_of_sentences_are_weights_of_their_tokens(tmp_path):
    path = tmp_path / "data.jsonl"
    rows = [{"tokens": ["a", "b"], "ner": ["O", "O"], "w": weight} for weight in (2, 0.5, 1, 1)]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf8")
    corpus = AnyCorpus(str(path), weight_column="w", sentences_per_doc=2)
    found = [eg.y._.training_weight for eg in corpus(spacy.blank("en"))]
    assert [list(found[0]), found[1]] == [[2.0, 2.0, 0.5, 0.5], None]
    # The column is not read unless it is named.
    corpus = AnyCorpus(str(path), sentences_per_doc=2)
    assert [eg.y._.training_weight for eg in corpus(spacy.blank("en"))] == [None, None]


@pytest.mark.parametrize("weight", [-1, "2", None, True, 10**400, 1e39])
def test_an_invalid_weight_in_data_names_the_row(weight, tmp_path):
    path = tmp_path / "data.jsonl"
    rows = [{"tokens": ["a"], "ner": ["O"], "w": value} for value in (1, weight)]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf8")
    with pytest.raises(CorpusError, match=r"data.jsonl.*: 'w' holds .*, not a weight"):
        list(AnyCorpus(str(path), weight_column="w")(spacy.blank("en")))


def test_an_augmenter_that_adds_tokens_is_an_error_with_data_per_token():
    nlp = spacy.blank("en")
    augmenter = spacys(
        "spacy.combined_augmenter.v1",
        lower_level=0.0,
        orth_level=0.0,
        orth_variants=None,
        whitespace_level=1.0,
        whitespace_per_token=1.0,
        whitespace_variants=[" "],
    )
    words = ["Ada", "left"]
    reference = Doc(nlp.vocab, words=words, ents=["B-PER", "O"], sent_starts=[True, True])
    example = Example(Doc(nlp.vocab, words=words), reference)
    reference._.training_weight = 3.0
    fix_random_seed(0)
    (found,) = augment([example], nlp, augmenter)
    assert len(found.reference) == 4
    starts = [token.text for token in found.reference if token.is_sent_start]
    assert starts == ["Ada", "left"]
    assert [(ent.text, ent.label_) for ent in found.reference.ents] == [("Ada", "PER")]
    assert [token.text for token in found.x] == [token.text for token in found.y]
    assert found.y._.training_weight == 3.0
    # Weights of tokens: white space has the weight of the token before it.
    reference._.training_weight = [3.0, 0.5]
    ENTITIES.set_annotated_labels(reference, ["PER"])
    (found,) = augment([example], nlp, augmenter)
    weights = {"Ada": 3.0, "left": 0.5}
    expected: list[float] = []
    for token in found.y:
        expected.append(weights.get(token.text, expected[-1] if expected else 3.0))
    assert found.y._.training_weight == expected
    assert len(expected) > 2
    assert ENTITIES.annotated_labels(found.y) == {"PER"}
    reference.user_data["outputs"] = np.zeros((2, 3))
    with pytest.raises(CorpusError, match="inserts tokens into the text 'Ada left '"):
        list(augment([example], nlp, augmenter))


def test_the_registered_augmenter_in_a_config(tmp_path):
    config = util.load_config_from_str(
        f"""
[corpora]

[corpora.train]
@readers = "bigru_tagger.Corpus.v1"
path = {json.dumps(str(write_columns(tmp_path)))}

[corpora.train.augmenter]
@augmenters = "bigru_tagger.CaseAugmenter.v1"
level_upper = 1.0
"""
    )
    corpus = util.registry.resolve(config["corpora"])["train"]
    assert [eg.text for eg in corpus(spacy.blank("en"))] == [
        "STRASSE IN İZMIR ",
        "DON'T NATO ",
        "ADA ",
    ]
