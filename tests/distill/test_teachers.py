"""Tests of teachers: pipelines, Hugging Face models, and ensembles."""

import itertools
import json
import pickle

import numpy as np
import pytest
import spacy
import torch
from hypotheses import all_hypotheses
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import TEXTS, build, set_logits
from spacy.language import Language
from spacy.tokens import Doc, Span
from tiny_transformer import word_pieces
from transformers import (
    BertConfig,
    BertForTokenClassification,
    RobertaConfig,
    RobertaForTokenClassification,
)

from bigru_tagger.decoding.transitions import Transitions
from bigru_tagger.distill.huggingface_teacher import HuggingFaceTeacher, TagMapping
from bigru_tagger.distill.teachers import (
    Ensemble,
    HardTeacher,
    RenamedTeacher,
    SoftTeacher,
    load_teacher,
    pipeline_teacher,
    teacher_names,
)
from bigru_tagger.pipeline.soft_targets import TeacherError
from bigru_tagger.schemes import biluo_tags, to_iob2


def words_of(text, vocab=None, **options):
    return Doc(vocab or spacy.blank("en").vocab, words=text.split(), **options)


def best_tags(teacher, doc):
    tags = biluo_tags(teacher.labels)
    return [tags[row.argmax()] if row.any() else None for row in teacher([doc])[0]]


# --- soft teachers


def test_a_soft_teacher_returns_marginals_over_valid_sequences_of_sentences(ner, monkeypatch):
    pipe = ner.get_pipe("bigru_ner")
    scores = np.random.default_rng(0).normal(size=(5, 13)).astype("float32")
    set_logits(monkeypatch, pipe, scores)
    teacher = pipeline_teacher(ner)
    assert isinstance(teacher, SoftTeacher)
    doc = words_of("a b c d e", sent_starts=[True, False, True, False, False])
    (found,) = teacher([doc])
    assert found.dtype == np.float32
    valid = Transitions.biluo(pipe.tags)
    for sentence in (slice(0, 2), slice(2, 5)):
        hypotheses, totals = all_hypotheses(scores[sentence].astype("float64"), valid)
        weights = np.exp(totals)
        for token in range(hypotheses.shape[1]):
            shares = np.bincount(hypotheses[:, token], weights, 13) / weights.sum()
            np.testing.assert_allclose(found[sentence][token], shares, atol=1e-6)


def test_the_best_tags_of_a_soft_teacher_are_the_learned_tags(ner):
    teacher = pipeline_teacher(ner)
    doc = words_of(TEXTS[0])
    assert best_tags(teacher, doc) == (["B-PER", "L-PER", "O", "O", "U-PER", "O", "U-LOC", "O"])
    assert not doc.has_annotation("ENT_IOB")
    assert [len(rows) for rows in teacher([words_of(""), doc, words_of("")])] == [0, 8, 0]
    assert teacher([]) == []


def test_a_soft_teacher_runs_the_components_before_the_recognizer(ner, monkeypatch):
    nlp = build("bigru_ner")
    nlp.add_pipe("sentencizer", first=True)
    seen = []
    pipe = nlp.get_pipe("bigru_ner")

    def predict(docs):
        seen.extend(docs)
        yield list(docs), np.zeros((sum(map(len, docs)), 13))

    monkeypatch.setattr(pipe, "_predict_logits", predict)
    pipeline_teacher(nlp)([words_of("One . Two .")])
    assert [token.is_sent_start for token in seen[0]] == [True, False, True, False]
    assert not seen[0].has_annotation("ENT_IOB")


# --- hard teachers


@Language.component("teachers_test_ents", assigns=["doc.ents"])
def set_entity(doc):
    doc.set_ents([Span(doc, 0, 1, "NEW")], default="outside")
    return doc


@pytest.fixture
def ruler():
    nlp = spacy.blank("en")
    patterns = [
        {"label": "LOC", "pattern": "New York City"},
        {"label": "PER", "pattern": "Eve"},
        {"label": "LOC", "pattern": "Royal Oslo"},
    ]
    nlp.add_pipe("entity_ruler").add_patterns(patterns)
    return nlp


def test_predictions_of_a_hard_teacher_have_a_probability_of_one(ruler):
    teacher = pipeline_teacher(ruler)
    assert isinstance(teacher, HardTeacher)
    assert teacher.labels == ("LOC", "PER")
    first, second = teacher([words_of("Eve left New York City ."), words_of("Royal Oslo")])
    tags = biluo_tags(["LOC", "PER"])
    assert [tags[i] for i in first.argmax(1)] == ["U-PER", "O", "B-LOC", "I-LOC", "L-LOC", "O"]
    assert [tags[i] for i in second.argmax(1)] == ["B-LOC", "L-LOC"]
    assert set(np.unique(first)) == {0.0, 1.0}
    assert first.sum(1).tolist() == [1.0] * 6


def test_a_pipeline_with_two_components_that_set_entities_is_a_hard_teacher():
    nlp = build("bigru_ner")
    nlp.add_pipe("entity_ruler", first=True).add_patterns([{"label": "GOD", "pattern": "Odin"}])
    teacher = pipeline_teacher(nlp)
    assert isinstance(teacher, HardTeacher)
    assert teacher.labels == ("GOD", "LOC", "ORG", "PER")


def test_an_entity_with_an_undeclared_label_raises(ruler):
    ruler.add_pipe("teachers_test_ents")
    with pytest.raises(TeacherError, match=r"with the label 'NEW', .* They declare: LOC, PER"):
        pipeline_teacher(ruler)([words_of("Oslo")])


def test_a_pipeline_that_sets_no_entities_raises():
    nlp = spacy.blank("en")
    nlp.add_pipe("sentencizer")
    with pytest.raises(TeacherError, match=r"sets doc\.ents .* components are: sentencizer"):
        pipeline_teacher(nlp)


# --- ensembles


class FixedTeacher:
    def __init__(self, labels, rows):
        self.labels = labels
        self.rows = np.array(rows, dtype=np.float32)

    def __call__(self, docs):
        return [self.rows for _ in docs]


def test_an_ensemble_is_the_mean_over_teachers_with_a_prediction():
    one = FixedTeacher(("A", "B"), [[0.5, 0, 0, 0, 0.5, 0, 0, 0, 0], [0] * 9, [0] * 9])
    # The labels are in the reverse order: 0.25 for U-B, 0.75 for U-A.
    other = FixedTeacher(
        ("B", "A"), [[0, 0, 0, 0, 0.25, 0, 0, 0, 0.75], [1, 0, 0, 0, 0, 0, 0, 0, 0], [0] * 9]
    )
    (rows,) = Ensemble([one, other])([words_of("a b c")])
    assert rows.tolist() == [
        [0.25, 0, 0, 0, 0.625, 0, 0, 0, 0.125],
        [1, 0, 0, 0, 0, 0, 0, 0, 0],
        [0] * 9,
    ]
    assert rows.dtype == np.float32


def test_an_ensemble_of_teachers_with_different_labels_raises():
    teachers = [FixedTeacher(("A", "B"), []), FixedTeacher(("A",), [])]
    with pytest.raises(TeacherError, match="teacher 1 has A, B, teacher 2 has A"):
        Ensemble(teachers)


# --- renamed labels


def test_labels_are_renamed_merged_or_removed():
    # O, then BILU of the four labels.
    gpe, loc, day, person = [0.2, 0, 0, 0.1], [0.05, 0, 0, 0.05], [0.1, 0, 0, 0.2], [0, 0, 0.2, 0]
    rows = [[0.1, *gpe, *loc, *day, *person]]
    teacher = FixedTeacher(("GPE", "LOC", "DAY", "PERSON"), rows)
    renamed = RenamedTeacher(teacher, {"GPE": "LOC", "DAY": "", "PERSON": "PER", "OTHER": "X"})
    assert renamed.labels == ("LOC", "PER")
    (found,) = renamed([words_of("a")])
    np.testing.assert_allclose(found, [[0.4, 0.25, 0, 0, 0.15, 0, 0, 0.2, 0]], atol=1e-6)
    with pytest.raises(TeacherError, match="all labels of the teacher are renamed to O"):
        RenamedTeacher(teacher, dict.fromkeys(teacher.labels, ""))


def test_a_threshold_that_the_student_does_not_learn_is_noted(ner, tmp_path, caplog):
    nlp = pickle.loads(pickle.dumps(ner))
    for threshold in (0.0, 0.55):
        nlp.get_pipe("bigru_ner").cfg["threshold"] = threshold
        nlp.to_disk(tmp_path / str(threshold))
        load_teacher(str(tmp_path / str(threshold)), load)
    (record,) = caplog.records
    assert "0.55: its threshold of 0.55 is not used" in record.getMessage()


def test_renaming_gives_teachers_the_same_labels(ruler, folder, tmp_path):
    ruler.get_pipe("entity_ruler").add_patterns([{"label": "GPE", "pattern": "Rome"}])
    ruler.to_disk(tmp_path / "ruler")
    both = f"{folder},{tmp_path / 'ruler'}"
    with pytest.raises(TeacherError, match="must have the same labels"):
        load_teacher(both, load)
    assert load_teacher(both, load, rename={"GPE": "LOC"}).labels == ("LOC", "PER")
    with pytest.raises(
        TeacherError, match=r"cannot rename GEO: the labels of .* are GPE, LOC, PER"
    ):
        load_teacher(both, load, rename={"GEO": "LOC"})


# --- labels of Hugging Face models


def certain(names, tags):
    return np.array([[float(name == tag) for name in names] for tag in tags])


def mapped_tags(names, tags):
    mapping = TagMapping.from_names(names, "model")
    columns = biluo_tags(mapping.labels)
    return [columns[row.argmax()] for row in mapping(certain(names, tags))]


IOB = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]


@pytest.mark.parametrize(
    ("names", "tags", "expected"),
    [
        (IOB, "B-PER B-PER I-PER O B-LOC", "U-PER B-PER L-PER O U-LOC"),  # IOB2
        (IOB, "I-PER B-PER I-PER I-PER O I-LOC", "U-PER B-PER I-PER L-PER O U-LOC"),  # IOB1
        (IOB, "B-PER I-LOC I-LOC", "U-PER B-LOC L-LOC"),
        (["PER", "O", "LOC"], "PER PER O LOC PER", "B-PER L-PER O U-LOC U-PER"),
        (["O", "B-X", "I-X", "E-X", "S-X"], "S-X B-X I-X E-X O", "U-X B-X I-X L-X O"),
        (["O", "U-X", "L-X", "I-X", "B-X"], "U-X B-X I-X L-X O", "U-X B-X I-X L-X O"),
    ],
)
def test_mapped_tags_of_every_scheme(names, tags, expected):
    assert mapped_tags(names, tags.split()) == expected.split()


def test_mapped_distributions_by_hand():
    mapping = TagMapping.from_names(["O", "B-X", "I-X"], "model")
    rows = mapping(np.array([[0.2, 0.5, 0.3], [0.4, 0.2, 0.4]]))
    # First token: B-X and I-X (0.8) both start an entity. It continues with probability 0.4.
    # Second token: I-X (0.4) continues an entity with probability 0.8. No token follows.
    expected = [
        [0.2, 0.8 * 0.4, 0, 0, 0.8 * 0.6],
        [0.4, 0, 0, 0.4 * 0.8, 0.2 + 0.4 * 0.2],
    ]
    np.testing.assert_allclose(rows, expected, atol=1e-6)


def biluo_of_iob2(tags):
    """Convert tags by the definition: an entity continues if the next tag is I-."""
    parts = []
    for tag, following in itertools.zip_longest(tags, tags[1:], fillvalue="O"):
        continues = following == f"I-{tag[2:]}"
        letters = {"B": "BU", "I": "IL"}.get(tag[0])
        parts.append(tag if letters is None else f"{letters[not continues]}-{tag[2:]}")
    return parts


@settings(deadline=None)
@given(tags=st.lists(st.sampled_from(IOB), min_size=1, max_size=8))
def test_mapped_tags_follow_conllevals_rules(tags):
    assert mapped_tags(IOB, tags) == biluo_of_iob2(to_iob2(tags, "IOB2"))


@settings(deadline=None)
@given(
    n_tokens=st.integers(0, 5),
    seed=st.integers(0, 2**32 - 1),
    names=st.sampled_from([IOB, ["O", "PER", "LOC"], ["O", *(f"{p}-X" for p in "BIES")]]),
)
def test_mapped_distributions_sum_to_one(n_tokens, seed, names):
    rng = np.random.default_rng(seed)
    rows = TagMapping.from_names(names, "model")(rng.dirichlet(np.ones(len(names)), n_tokens))
    assert (rows >= 0.0).all()
    np.testing.assert_allclose(rows.sum(1), np.ones(n_tokens), atol=1e-6)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["LABEL_0", "LABEL_1"], "not an entity tagger: .* they are LABEL_0, LABEL_1"),
        (["O"], "not an entity tagger"),
        (["O", "B-X", "I-X", "[CLS]"], r"these have none: \[CLS\]"),
    ],
)
def test_labels_that_are_not_entity_tags_raise(names, message):
    with pytest.raises(TeacherError, match=message):
        TagMapping.from_names(names, "model")


# --- Hugging Face models

LONG = " ".join(TEXTS).split()
POSITIONS = 12


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("transformer")
    tokenizer = word_pieces(70)
    tokenizer.save_pretrained(path)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=POSITIONS,
        initializer_range=1.0,
        id2label=dict(enumerate(IOB)),
        label2id={name: number for number, name in enumerate(IOB)},
    )
    BertForTokenClassification(config).save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def transformer(folder):
    return HuggingFaceTeacher(str(folder))


def classify(folder, ids):
    """Compute the distributions of one window with the model."""
    model = BertForTokenClassification.from_pretrained(folder).eval()
    with torch.inference_mode():
        logits = model(torch.tensor([[2, *ids, 3]])).logits[0, 1:-1]
    return logits.softmax(1).numpy()


def sub_words(words):
    """List the ids of all sub-words, and the index of each word's first sub-word, or None."""
    tokenizer = word_pieces(70)
    ids, begins = [], []
    for word in words:
        word_ids = tokenizer(word, add_special_tokens=False)["input_ids"]
        begins.append(len(ids) if word_ids else None)
        ids += word_ids
    return ids, begins


def test_the_distribution_of_a_word_is_that_of_its_first_sub_word(transformer, folder):
    words = ["Bob", "met", "\u200b", "Eve"]  # the tokenizer removes the zero-width space
    ids, begins = sub_words(words)
    assert begins[2] is None
    assert len(words) - 1 < len(ids) <= POSITIONS - 2
    (found,) = transformer._classify([words])
    rows = classify(folder, ids)
    for word, begin in enumerate(begins):
        expected = np.zeros(len(IOB)) if begin is None else rows[begin]
        np.testing.assert_allclose(found[word], expected, atol=1e-5)
    (mapped,) = transformer([Doc(spacy.blank("en").vocab, words=words)])
    assert mapped.any(1).tolist() == [True, True, False, True]
    assert transformer.labels == ("LOC", "PER")


def test_long_sentences_are_split_into_windows(transformer, folder):
    assert transformer.max_length == POSITIONS
    ids, begins = sub_words(LONG)
    room = POSITIONS - 2
    assert len(ids) > 3 * room
    # The smallest number of windows that overlap by at least half, evenly spaced.
    further = -(-(len(ids) - room) // (room // 2))
    begins_of_windows = [i * (len(ids) - room) // further for i in range(further + 1)]
    windows = [range(begin, begin + room) for begin in begins_of_windows]
    rows = [classify(folder, ids[window.start : window.stop]) for window in windows]
    (found,) = transformer._classify([LONG])
    for word, begin in enumerate(begins):
        # The distance of the word from the edges of each window. Ends of the text do not count.
        margins = [
            min(
                begin - window.start if window.start else len(ids),
                window.stop - 1 - begin if window.stop < len(ids) else len(ids),
            )
            if begin in window
            else -1
            for window in windows
        ]
        likely = [
            rows[i][begin - windows[i].start]
            for i, margin in enumerate(margins)
            if margin == max(margins)
        ]
        assert any(np.allclose(found[word], row, atol=1e-5) for row in likely), LONG[word]


def test_outputs_do_not_depend_on_the_batch(transformer):
    vocab = spacy.blank("en").vocab
    starts = [i in (0, 8, 15) for i in range(len(LONG))]
    together = words_of(" ".join(LONG), vocab, sent_starts=starts)
    separate = [words_of(" ".join(LONG[a:b]), vocab) for a, b in ((0, 8), (8, 15), (15, len(LONG)))]
    (rows,) = transformer([together])
    np.testing.assert_allclose(rows, np.concatenate(transformer(separate)), atol=1e-5)
    with_empty = transformer([words_of("", vocab), together, words_of("", vocab), separate[0]])
    assert [len(part) for part in with_empty] == [0, len(LONG), 0, 8]
    np.testing.assert_allclose(with_empty[1], rows, atol=1e-5)
    assert transformer([]) == []
    np.testing.assert_allclose(rows.sum(1), np.ones(len(LONG)), atol=1e-5)


def test_a_model_without_a_maximum_length_needs_no_windows(transformer, monkeypatch):
    doc = words_of("Bob met Eve")
    expected = transformer([doc])[0]
    monkeypatch.setitem(vars(transformer), "max_length", None)
    np.testing.assert_allclose(transformer([doc])[0], expected, atol=1e-6)


def test_the_maximum_length_of_roberta_excludes_padding_positions(tmp_path):
    word_pieces(70).save_pretrained(tmp_path)
    config = RobertaConfig(
        vocab_size=len(word_pieces(70)),
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=8,
        max_position_embeddings=14,
        pad_token_id=1,
        id2label=dict(enumerate(IOB)),
    )
    RobertaForTokenClassification(config).save_pretrained(tmp_path)
    teacher = HuggingFaceTeacher(str(tmp_path))
    assert teacher.max_length == 12
    assert teacher([words_of(" ".join(LONG))])[0].any(1).all()


def test_a_model_with_other_labels_raises(folder, tmp_path):
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf8"))
    config["id2label"] = {str(i): f"LABEL_{i}" for i in range(5)}
    config["label2id"] = {f"LABEL_{i}": i for i in range(5)}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf8")
    with pytest.raises(TeacherError, match="they are LABEL_0"):
        HuggingFaceTeacher(str(tmp_path))


# --- loading by name


def load(name):
    return spacy.load(name)


def test_the_kind_of_a_teacher_is_detected(folder, ruler, ner, tmp_path):
    ruler.to_disk(tmp_path / "ruler")
    ner.to_disk(tmp_path / "ner")
    text = words_of(TEXTS[0])
    (rows,) = load_teacher(str(tmp_path / "ner"), load)([text])
    np.testing.assert_allclose(rows, pipeline_teacher(ner)([text])[0], atol=1e-6)
    assert load_teacher(str(tmp_path / "ruler"), load).labels == ("LOC", "PER")
    pair = load_teacher(f"{folder}, {tmp_path / 'ruler'}", load)
    (rows,) = pair([text])
    singles = [load_teacher(str(path), load)([text])[0] for path in (folder, tmp_path / "ruler")]
    np.testing.assert_allclose(rows, np.mean(singles, axis=0), atol=1e-6)


@pytest.mark.parametrize("name", ["ner", "ruler"])
def test_a_teacher_adds_no_strings_to_the_vocabulary(name, request):
    nlp = request.getfixturevalue(name)
    text, before = words_of("Unheard words of Zyx9"), len(nlp.vocab.strings)
    teacher = pipeline_teacher(nlp)
    np.testing.assert_array_equal(teacher([text])[0], teacher([text])[0])
    assert len(nlp.vocab.strings) == before


def test_custom_code_of_a_teacher_is_never_run(tmp_path, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda *prompt: pytest.fail(f"asked: {prompt}"))
    ran = tmp_path / "ran"
    code = {"AutoConfig": "own.M", "AutoModelForTokenClassification": "own.M"}
    (tmp_path / "own.py").write_text(f"open({str(ran)!r}, 'w')", encoding="utf8")
    config = {"model_type": "own", "architectures": ["M"], "auto_map": code}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf8")
    tokenizer = {"auto_map": {"AutoTokenizer": ["own.M", "own.M"]}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(tokenizer), encoding="utf8")
    with pytest.raises(TeacherError, match="contains its own code, which is never run") as error:
        load_teacher(str(tmp_path), load)
    assert "\n" not in str(error.value)
    assert not ran.exists()


def test_no_such_teacher(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(TeacherError, match=r"a spaCy pipeline .* or a Hugging Face token-class"):
        load_teacher(str(tmp_path / "empty"), load)
    with pytest.raises(TeacherError, match=r"contains an empty name: extra comma\?"):
        load_teacher("one,,two", load)
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_text("{}", encoding="utf8")
    with pytest.raises(TeacherError, match="cannot load the teacher"):
        load_teacher(str(broken), load)


def test_a_comma_in_the_name_of_a_folder(tmp_path):
    folder = tmp_path / "one,two"
    assert len(teacher_names(str(folder))) == 2
    folder.mkdir()
    assert teacher_names(str(folder)) == [str(folder)]
