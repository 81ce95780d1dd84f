"""From a teacher's outputs to a trained student."""

import json
from pathlib import Path

import numpy as np
import pytest
import spacy
from datasets import Dataset, load_from_disk
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import ROOT, SENTENCES, TEXTS, annotate, read_examples
from spacy import util
from spacy.tokens import Doc
from spacy.vocab import Vocab
from thinc.api import Config
from typer.testing import CliRunner

from bigru_tagger.cli import app
from bigru_tagger.corpus.sentences import CorpusError
from bigru_tagger.distill import outputs
from bigru_tagger.distill.outputs import (
    DistilledCorpus,
    check_student,
    make_doc,
    read_row,
    store_outputs,
    student_config,
)
from bigru_tagger.pipeline.soft_targets import SoftTargets
from bigru_tagger.schemes import biluo_tags

CONFIGS = ROOT / "configs"
LABELS = ("LOC", "ORG", "PER")
TAGS = biluo_tags(LABELS)


class Counting:
    """A teacher that says something of its own of each word, and counts what it was asked."""

    def __init__(self, labels=LABELS, fails_at=None):
        self.labels = labels
        self.fails_at = fails_at
        self.asked = []

    def __call__(self, docs):
        rows = []
        for doc in docs:
            if self.fails_at is not None and len(self.asked) == self.fails_at:
                raise KeyboardInterrupt
            self.asked.append([token.text for token in doc])
            seeds = [sum(map(ord, token.text)) for token in doc]
            n_tags = len(biluo_tags(self.labels))
            rows.append(
                np.array(
                    [np.random.default_rng(seed).dirichlet(np.ones(n_tags)) for seed in seeds],
                    dtype=np.float32,
                ).reshape(len(doc), n_tags)
            )
        return rows


def rows_of(texts, vocab=None, **options):
    vocab = vocab or spacy.blank("en").vocab
    return [read_row(Doc(vocab, words=text.split()), **options) for text in texts]


def store(folder, teacher, texts=TEXTS, *, top_k=3, name="a teacher"):
    return store_outputs(
        folder,
        lambda: teacher,
        lambda: rows_of(texts),
        settings={"teacher": [name]},
        top_k=top_k,
    )


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    """A part for each of the sample sentences, but for the short one, which joins the next."""
    monkeypatch.setattr(outputs, "TOKENS_PER_PART", 6)


# --- the file


def test_outputs_are_the_most_probable_tags(tmp_path):
    dataset = store(tmp_path / "teacher", Counting())
    assert dataset.features["teacher_tags"].feature.feature.names == TAGS
    assert len(dataset) == 4
    expected = Counting()([Doc(spacy.blank("en").vocab, words=text.split()) for text in TEXTS])
    for row, rows, text in zip(dataset, expected, TEXTS, strict=True):
        assert row["tokens"] == text.split()
        order = np.argsort(-rows, axis=1)[:, :3]
        assert row["teacher_tags"] == order.tolist()
        kept = np.take_along_axis(rows, order, 1)
        np.testing.assert_array_equal(np.float32(row["teacher_probabilities"]), kept)
        assert (np.sum(row["teacher_probabilities"], 1) <= 1.0).all()
    settings = json.loads((tmp_path / "teacher" / "teacher.json").read_text(encoding="utf8"))
    assert settings == {"teacher": ["a teacher"], "top_k": 3}
    assert load_from_disk(str(tmp_path / "teacher"))[:] == dataset[:]  # any user's way in


def test_all_tags_sum_to_one(tmp_path):
    dataset = store(tmp_path / "teacher", Counting(), top_k=100)
    for row in dataset:
        sums = np.sum(row["teacher_probabilities"], 1)
        np.testing.assert_allclose(sums, np.ones(len(sums)), atol=1e-5)
        assert {len(tags) for tags in row["teacher_tags"]} == {len(TAGS)}


@pytest.mark.parametrize("fails_at", [0, 1, 2, 3])
def test_a_stopped_run_goes_on_and_asks_for_nothing_twice(tmp_path, fails_at):
    whole = store(tmp_path / "whole", Counting())
    stopped = Counting(fails_at=fails_at)
    with pytest.raises(KeyboardInterrupt):
        store(tmp_path / "teacher", stopped)
    assert not (tmp_path / "teacher").exists()
    rest = Counting()
    dataset = store(tmp_path / "teacher", rest)
    assert dataset[:] == whole[:]
    assert dataset.features == whole.features
    # The third sentence shares its part with the fourth, so a stop in between loses it.
    finished = {0: 0, 1: 1, 2: 2, 3: 2}[fails_at]
    assert rest.asked == [text.split() for text in TEXTS[finished:]]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["teacher", "whole"]


def test_what_is_finished_is_opened_without_the_teacher(tmp_path):
    first = store(tmp_path / "teacher", Counting())
    again = store(tmp_path / "teacher", None)
    assert again[:] == first[:]


def test_outputs_of_something_else_are_left_alone(tmp_path):
    store(tmp_path / "teacher", Counting())
    with pytest.raises(ValueError, match="outputs with top_k = 3, not 4"):
        store(tmp_path / "teacher", Counting(), top_k=4)
    with pytest.raises(ValueError, match=r"teacher = .'a teacher'., not .'another'."):
        store(tmp_path / "teacher", Counting(), name="another")
    for texts, number in ((TEXTS[:3], 4), ([*TEXTS, "More ."], 5), (["New", *TEXTS[1:]], 1)):
        with pytest.raises(ValueError, match=f"other texts, from number {number} on"):
            store(tmp_path / "teacher", Counting(), texts)
    (tmp_path / "other").mkdir()
    with pytest.raises(ValueError, match="no file of a teacher's outputs"):
        store(tmp_path / "other", Counting())


def test_a_stopped_run_of_other_texts_is_left_alone(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        store(tmp_path / "teacher", Counting(fails_at=2))
    with pytest.raises(ValueError, match=r"for other texts, from number 1 on .'Else"):
        store(tmp_path / "teacher", Counting(), [TEXTS[0], "Else where now we go on", *TEXTS[2:]])
    with pytest.raises(ValueError, match="outputs with top_k = 3, not 4"):
        store(tmp_path / "teacher", Counting(), top_k=4)


def test_gold_labels_that_the_teacher_does_not_know(tmp_path):
    def rows():
        return [read_row(example.reference) for example in read_examples(spacy.blank("en").vocab)]

    teacher = Counting(labels=("PER", "LOC"))
    with pytest.raises(ValueError, match=r"knows PER, LOC, but .*'Bob met Eve .* of ORG"):
        store_outputs(tmp_path / "teacher", lambda: teacher, rows, settings={}, top_k=3)
    assert teacher.asked == []
    # Nothing is left that would be in the way of another teacher.
    assert len(store(tmp_path / "teacher", Counting(), top_k=4)) == 4


TAG = st.sampled_from(["", "O", "B-PER", "I-PER", "B-LOC", "I-LOC"])


@settings(max_examples=40, deadline=None)
@given(
    tokens=st.lists(st.tuples(TAG, st.booleans(), st.booleans()), min_size=1, max_size=6),
    knows=st.tuples(st.booleans(), st.booleans(), st.booleans()),
)
def test_a_row_holds_all_that_a_text_says(tokens, knows):
    has_spaces, has_starts, has_ents = knows
    tags = [tag for tag, _, _ in tokens]
    for i, tag in enumerate(tags):
        if tag.startswith("I-") and (not i or tags[i - 1][2:] != tag[2:]):
            tags[i] = f"B-{tag[2:]}"
    doc = Doc(
        Vocab(),
        words=[f"w{i}" for i in range(len(tokens))],
        spaces=[space for _, space, _ in tokens] if has_spaces else None,
        sent_starts=[not i or start for i, (_, _, start) in enumerate(tokens)]
        if has_starts
        else None,
        ents=tags if has_ents else None,
    )
    copy = make_doc(Vocab(), read_row(doc))
    assert copy.text == doc.text
    assert copy.has_unknown_spaces == doc.has_unknown_spaces
    for name in ("text", "whitespace_", "is_sent_start", "ent_iob_", "ent_type_"):
        assert [getattr(t, name) for t in copy] == [getattr(t, name) for t in doc], name
    assert read_row(doc, gold=False)["ner_tags"] is None


# --- the reader


def test_the_reader_gives_what_teacher_and_text_say(tmp_path):
    vocab = spacy.blank("en").vocab
    starts = [i in (0, 4) for i in range(10)]
    texts = [
        Doc(vocab, words=TEXTS[2].split() + TEXTS[1].split()[:6], sent_starts=starts),
        annotate(Doc(vocab, words=TEXTS[0].split()), SENTENCES[0][1]),
    ]
    teacher = Counting()
    store_outputs(
        tmp_path / "teacher", lambda: teacher, lambda: map(read_row, texts), settings={}, top_k=2
    )
    nlp = spacy.blank("en")
    reader = DistilledCorpus(tmp_path / "teacher", temperature=3.0, weight=0.25)
    first, second = reader(nlp)
    assert first.predicted.vocab is nlp.vocab
    assert [token.is_sent_start for token in first.predicted] == starts
    assert not first.reference.has_annotation("ENT_IOB")
    assert not second.predicted.has_annotation("SENT_START")
    assert not second.predicted.has_annotation("ENT_IOB")
    assert [ent.label_ for ent in second.reference.ents] == ["PER", "PER", "LOC"]
    for example, rows in zip((first, second), teacher(texts), strict=True):
        targets = SoftTargets.of(example.reference)
        assert targets.tags == tuple(TAGS)
        assert (targets.temperature, targets.weight) == (3.0, 0.25)
        np.testing.assert_array_equal(targets.columns, np.argsort(-rows, axis=1)[:, :2])
        np.testing.assert_allclose(targets.probabilities, -np.sort(-rows, axis=1)[:, :2])
    assert len(list(reader(nlp))) == 2  # from the beginning each time
    (only,) = DistilledCorpus(tmp_path / "teacher", given_sentences=False, limit=1)(nlp)
    assert not only.predicted.has_annotation("SENT_START")


def test_rows_of_many_batches_keep_their_outputs(tmp_path, monkeypatch):
    monkeypatch.setattr(outputs, "_BATCH_SIZE", 3)
    texts = [" ".join(["word"] * (i % 4 + 1)) + f" {i}" for i in range(10)]
    store(tmp_path / "teacher", Counting(), texts)
    examples = list(DistilledCorpus(tmp_path / "teacher")(spacy.blank("en")))
    expected = Counting()([example.predicted for example in examples])
    assert [example.text.strip() for example in examples] == texts
    for example, rows in zip(examples, expected, strict=True):
        columns = SoftTargets.of(example.reference).columns
        np.testing.assert_array_equal(columns, np.argsort(-rows, axis=1)[:, :3])


def test_the_reader_says_what_is_wrong(tmp_path):
    nlp = spacy.blank("en")
    with pytest.raises(CorpusError, match="no dataset of a teacher's outputs"):
        list(DistilledCorpus(tmp_path / "nothing")(nlp))
    Dataset.from_dict({"tokens": [["a"]]}).save_to_disk(str(tmp_path / "plain"))
    with pytest.raises(CorpusError, match="columns ner_tags, sentence_starts, spaces, teacher_p"):
        list(DistilledCorpus(tmp_path / "plain")(nlp))
    for wrong in ({"temperature": -1.0}, {"weight": 2.0}, {"limit": -1}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            DistilledCorpus(tmp_path, **wrong)


# --- the config


def test_only_the_training_corpus_of_the_config_changes():
    config = util.load_config(CONFIGS / "conll2003.cfg", interpolate=False)
    changed = student_config(config, Path("out/teacher"), temperature=2.0, weight=0.5)
    assert changed["corpora"].pop("train") == {
        "@readers": "bigru_tagger.DistilledCorpus.v1",
        "path": "out/teacher",
        "temperature": 2.0,
        "weight": 0.5,
        "given_sentences": True,
        "limit": 0,
    }
    assert config["corpora"].pop("train")["@readers"] == "bigru_tagger.Corpus.v1"
    assert changed == config
    check_student(config)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.cfg")), ids=lambda path: path.stem)
def test_a_students_config_is_complete(path):
    config = util.load_config(path, interpolate=False)
    changed = student_config(config, Path("out/teacher"), temperature=1.5, weight=0.5)
    assert util.load_model_from_config(changed, auto_fill=True).config == changed


@pytest.mark.parametrize(
    ("components", "message"),
    [
        ({}, r"nobody to teach \(no components\)"),
        ({"senter": {"factory": "senter"}}, r"nobody to teach \(senter\)"),
        (
            {"ner": {"factory": "bigru_ner", "model": {"decode": "crf"}}},
            'set decode = "constrained"',
        ),
    ],
)
def test_configs_that_cannot_learn_from_a_teacher(components, message):
    with pytest.raises(ValueError, match=message):
        check_student(Config({"components": components}))


def test_the_corpus_that_trains_may_have_any_name():
    text = """
    [training]
    train_corpus = "corpora.news.train"
    [corpora]
    [corpora.train]
    path = "other"
    """
    config = Config().from_str(text)
    changed = student_config(config, Path("out"), temperature=1.0, weight=1.0)
    assert changed["corpora"]["train"] == {"path": "other"}
    assert changed["corpora"]["news"]["train"]["path"] == "out"
    check_student(Config({"components": {"ner": {"source": "somewhere"}}}))


# --- the command

SMALL = {
    "components.ner.model.hidden": 16,
    "components.ner.model.embed.words.unknown_rate": 0.0,
    "components.ner.model.word_dropout": 0.0,
    "corpora.dev.limit": 5,
    "training.dropout": 0.0,
    "training.optimizer.learn_rate.warmup_steps": 1,
    "training.optimizer.learn_rate.initial_rate": 0.01,
    "training.max_steps": 40,
    "training.eval_frequency": 40,
}


def run(*arguments, fails=False):
    result = CliRunner().invoke(app, ["distill", *map(str, arguments)])
    assert result.exit_code == (1 if fails else 0), result.output + repr(result.exception)
    return result.output


@pytest.fixture(scope="module")
def teacher(ner, tmp_path_factory):
    path = tmp_path_factory.mktemp("teacher") / "model"
    ner.to_disk(path)
    return path


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
    path = tmp_path_factory.mktemp("texts") / "tokens.conll"
    path.write_text("\n\n".join(text.replace(" ", "\n") for text in TEXTS), encoding="utf8")
    return path


def overrides(settings):
    return [part for name, value in settings.items() for part in (f"--{name}", value)]


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """The sample sentences with their entities, as a split to score on."""
    rows = [read_row(example.reference) for example in read_examples(spacy.blank("en").vocab)]
    path = tmp_path_factory.mktemp("labelled")
    lines = [json.dumps({name: row[name] for name in ("tokens", "ner_tags")}) for row in rows]
    (path / "validation.jsonl").write_text("\n".join(lines), encoding="utf8")
    return path


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # spaCy's files
def test_a_student_of_unlabelled_texts_finds_what_its_teacher_finds(
    teacher, tokens, labelled, tmp_path, monkeypatch
):
    output = tmp_path / "student"
    base = [teacher, CONFIGS / "sample.cfg", tokens, "--output", output]
    settings = overrides({**SMALL, "paths.data": labelled})
    printed = run(*base, "--temperature", 1.5, "--", *settings)
    assert f"spacy train {output / 'config.cfg'} --output {output}" in printed
    assert {path.name for path in output.iterdir()} == {
        "config.cfg",
        "model-best",
        "model-last",
        "teacher",
    }
    student, wise = spacy.load(output / "model-last"), spacy.load(teacher)
    assert student.get_pipe("ner").labels == LABELS
    assert student.meta["performance"]["ents_f"] == 1.0
    for text, ents, *_ in SENTENCES:
        for nlp in (student, wise):
            doc = nlp(Doc(nlp.vocab, words=text.split()))
            assert [(e.start, e.end, e.label_) for e in doc.ents] == ents
    # With other settings of the loss, the teacher is not asked again.
    monkeypatch.setattr("bigru_tagger.distill.teachers.load_teacher", None)
    run(*base, "--weight", 0.3, "--", *settings, "--training.max_steps", 1)
    config = util.load_config(output / "config.cfg", interpolate=False)
    assert config["corpora"]["train"]["weight"] == 0.3
    meta = teacher / "meta.json"
    meta.write_text(meta.read_text(encoding="utf8") + "\n", encoding="utf8")
    assert "these are outputs with teacher = " in run(*base, "--", *settings, fails=True)


def test_the_command_says_what_is_wrong_before_the_teacher_is_asked(teacher, tokens, tmp_path):
    output = tmp_path / "out"
    config = CONFIGS / "sample.cfg"
    arguments = [teacher, config, tokens, "--output", output]
    crf = ["--", "--components.ner.model.decode", "crf"]
    assert 'set decode = "constrained"' in run(*arguments, *crf, fails=True)
    assert "--rename GPE: write LABEL=NAME" in run(*arguments, "--rename", "GPE", fails=True)
    assert "temperature has to be above 0" in run(*arguments, "--temperature", 0, fails=True)
    assert "no such file" in run(teacher, config, "no.conll", "--output", output, fails=True)
    missing = tmp_path / "no_teacher"
    assert "no_teacher: no such file or folder" in run(
        missing, config, tokens, "--output", output, fails=True
    )
    message = run(teacher, config, "bigru_tagger/sample", "--output", output, fails=True)
    assert "The teacher knows LOC, ORG, PER, but" in message
    assert "has entities of MISC" in message
    assert not (output / "teacher").exists()
