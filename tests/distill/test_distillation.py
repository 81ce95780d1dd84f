"""Tests of a teacher's outputs, their reader, and the command `distill`."""

import json
from pathlib import Path

import numpy as np
import pytest
import spacy
from datasets import Dataset, load_from_disk
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import ROOT, SENTENCES, TEXTS, annotate, build, read_examples
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
from bigru_tagger.tasks import ENTITIES

CONFIGS = ROOT / "configs"
LABELS = ("LOC", "ORG", "PER")
TAGS = biluo_tags(LABELS)


class RecordingTeacher:
    """A teacher with a fixed random distribution for each word, which records its inputs."""

    def __init__(self, labels=LABELS, fails_at=None):
        self.labels = labels
        self.fails_at = fails_at
        self.seen = []

    def __call__(self, docs):
        rows = []
        for doc in docs:
            if self.fails_at is not None and len(self.seen) == self.fails_at:
                raise KeyboardInterrupt
            self.seen.append([token.text for token in doc])
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
    """One part per sample sentence, except that the short third sentence is in the last part."""
    monkeypatch.setattr(outputs, "TOKENS_PER_PART", 6)


# --- the dataset


def test_outputs_are_the_most_probable_tags(tmp_path):
    dataset = store(tmp_path / "teacher", RecordingTeacher())
    assert dataset.features["teacher_tags"].feature.feature.names == TAGS
    assert len(dataset) == 4
    expected = RecordingTeacher()(
        [Doc(spacy.blank("en").vocab, words=text.split()) for text in TEXTS]
    )
    for row, rows, text in zip(dataset, expected, TEXTS, strict=True):
        assert row["tokens"] == text.split()
        order = np.argsort(-rows, axis=1)[:, :3]
        assert row["teacher_tags"] == order.tolist()
        kept = np.take_along_axis(rows, order, 1)
        np.testing.assert_array_equal(np.float32(row["teacher_probabilities"]), kept)
        assert (np.sum(row["teacher_probabilities"], 1) <= 1.0).all()
    settings = json.loads((tmp_path / "teacher" / "teacher.json").read_text(encoding="utf8"))
    assert settings == {"teacher": ["a teacher"], "top_k": 3}
    assert load_from_disk(str(tmp_path / "teacher"))[:] == dataset[:]  # without this package


def test_all_tags_sum_to_one(tmp_path):
    dataset = store(tmp_path / "teacher", RecordingTeacher(), top_k=100)
    for row in dataset:
        sums = np.sum(row["teacher_probabilities"], 1)
        np.testing.assert_allclose(sums, np.ones(len(sums)), atol=1e-5)
        assert {len(tags) for tags in row["teacher_tags"]} == {len(TAGS)}


@pytest.mark.parametrize("fails_at", [0, 1, 2, 3])
def test_an_interrupted_run_is_resumed_without_repeating_parts(tmp_path, fails_at):
    whole = store(tmp_path / "whole", RecordingTeacher())
    stopped = RecordingTeacher(fails_at=fails_at)
    with pytest.raises(KeyboardInterrupt):
        store(tmp_path / "teacher", stopped)
    assert not (tmp_path / "teacher").exists()
    rest = RecordingTeacher()
    dataset = store(tmp_path / "teacher", rest)
    assert dataset[:] == whole[:]
    assert dataset.features == whole.features
    # The third and fourth sentences are in one part, so the third is lost.
    finished = {0: 0, 1: 1, 2: 2, 3: 2}[fails_at]
    assert rest.seen == [text.split() for text in TEXTS[finished:]]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["teacher", "whole"]


def test_a_finished_dataset_is_opened_without_the_teacher(tmp_path):
    first = store(tmp_path / "teacher", RecordingTeacher())
    again = store(tmp_path / "teacher", None)
    assert again[:] == first[:]


def test_other_outputs_in_the_folder_raise(tmp_path):
    store(tmp_path / "teacher", RecordingTeacher())
    with pytest.raises(ValueError, match="the existing outputs have top_k = 3, not 4"):
        store(tmp_path / "teacher", RecordingTeacher(), top_k=4)
    with pytest.raises(ValueError, match=r"teacher = .'a teacher'., not .'another'."):
        store(tmp_path / "teacher", RecordingTeacher(), name="another")
    for texts, number in ((TEXTS[:3], 4), ([*TEXTS, "More ."], 5), (["New", *TEXTS[1:]], 1)):
        with pytest.raises(ValueError, match=f"other texts, starting with text {number} "):
            store(tmp_path / "teacher", RecordingTeacher(), texts)
    (tmp_path / "other").mkdir()
    with pytest.raises(ValueError, match="contains no teacher's outputs"):
        store(tmp_path / "other", RecordingTeacher())


def test_an_interrupted_run_with_other_texts_raises(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        store(tmp_path / "teacher", RecordingTeacher(fails_at=2))
    with pytest.raises(ValueError, match=r"for other texts, starting with text 1 .'Else"):
        store(
            tmp_path / "teacher",
            RecordingTeacher(),
            [TEXTS[0], "Else where now we go on", *TEXTS[2:]],
        )
    with pytest.raises(ValueError, match="the existing outputs have top_k = 3, not 4"):
        store(tmp_path / "teacher", RecordingTeacher(), top_k=4)


def test_gold_labels_that_the_teacher_lacks_raise(tmp_path):
    def rows():
        return [read_row(example.reference) for example in read_examples(spacy.blank("en").vocab)]

    teacher = RecordingTeacher(labels=("PER", "LOC"))
    with pytest.raises(ValueError, match=r"labels are PER, LOC, but .*'Bob met Eve .*: ORG\."):
        store_outputs(tmp_path / "teacher", lambda: teacher, rows, settings={}, top_k=3)
    assert teacher.seen == []
    # Nothing was written, so another teacher can use the folder.
    assert len(store(tmp_path / "teacher", RecordingTeacher(), top_k=4)) == 4


TAG = st.sampled_from(["", "O", "B-PER", "I-PER", "B-LOC", "I-LOC"])


@settings(max_examples=40, deadline=None)
@given(
    tokens=st.lists(st.tuples(TAG, st.booleans(), st.booleans()), min_size=1, max_size=6),
    is_set=st.tuples(st.booleans(), st.booleans(), st.booleans()),
)
def test_rows_round_trip(tokens, is_set):
    has_spaces, has_starts, has_ents = is_set
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


def test_outside_is_unknown_if_only_some_labels_are_annotated():
    doc = Doc(Vocab(), words=["Ada", "left", "Oslo"], ents=["B-PER", "O", "O"])
    assert read_row(doc)["ner_tags"] == ["B-PER", "O", "O"]
    ENTITIES.set_annotated_labels(doc, ["PER"])
    assert read_row(doc)["ner_tags"] == ["B-PER", "", ""]


# --- the reader


def test_the_reader_yields_gold_annotation_and_soft_targets(tmp_path):
    vocab = spacy.blank("en").vocab
    starts = [i in (0, 4) for i in range(10)]
    texts = [
        Doc(vocab, words=TEXTS[2].split() + TEXTS[1].split()[:6], sent_starts=starts),
        annotate(Doc(vocab, words=TEXTS[0].split()), SENTENCES[0][1]),
    ]
    teacher = RecordingTeacher()
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
    assert len(list(reader(nlp))) == 2  # always from the first row
    (only,) = DistilledCorpus(tmp_path / "teacher", given_sentences=False, limit=1)(nlp)
    assert not only.predicted.has_annotation("SENT_START")


def test_rows_of_many_batches_keep_their_outputs(tmp_path, monkeypatch):
    monkeypatch.setattr(outputs, "_BATCH_SIZE", 3)
    texts = [" ".join(["word"] * (i % 4 + 1)) + f" {i}" for i in range(10)]
    store(tmp_path / "teacher", RecordingTeacher(), texts)
    examples = list(DistilledCorpus(tmp_path / "teacher")(spacy.blank("en")))
    expected = RecordingTeacher()([example.predicted for example in examples])
    assert [example.text.strip() for example in examples] == texts
    for example, rows in zip(examples, expected, strict=True):
        columns = SoftTargets.of(example.reference).columns
        np.testing.assert_array_equal(columns, np.argsort(-rows, axis=1)[:, :3])


def test_errors_of_the_reader(tmp_path):
    nlp = spacy.blank("en")
    with pytest.raises(CorpusError, match="cannot open the dataset of a teacher's outputs"):
        list(DistilledCorpus(tmp_path / "nothing")(nlp))
    Dataset.from_dict({"tokens": [["a"]]}).save_to_disk(str(tmp_path / "plain"))
    with pytest.raises(CorpusError, match="columns: ner_tags, sentence_starts, spaces, teacher_p"):
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
        "augmenter": None,
    }
    assert config["corpora"].pop("train")["@readers"] == "bigru_tagger.Corpus.v1"
    assert changed == config
    check_student(config)


@pytest.mark.parametrize(("bias", "expected"), [(None, 0.0), (0.5, 0.5)])
def test_a_student_has_no_recall_bias_of_its_own(bias, expected):
    config = util.load_config(CONFIGS / "conll2003.cfg", interpolate=False)
    config["components"]["ner"]["recall_bias"] = bias
    changed = student_config(config, Path("out/teacher"), temperature=1.0, weight=0.5)
    assert changed["components"]["ner"]["recall_bias"] == expected


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.cfg")), ids=lambda path: path.stem)
def test_a_students_config_is_complete(path):
    config = util.load_config(path, interpolate=False)
    changed = student_config(config, Path("out/teacher"), temperature=1.5, weight=0.5)
    assert util.load_model_from_config(changed, auto_fill=True).config == changed


@pytest.mark.parametrize(
    ("components", "message"),
    [
        ({}, 'no component with factory = "bigru_ner" to train. Its components are: none'),
        ({"senter": {"factory": "senter"}}, "components are: senter"),
        (
            {"ner": {"factory": "bigru_ner", "model": {"decode": "crf"}}},
            'set decode = "constrained"',
        ),
    ],
)
def test_configs_that_cannot_be_used_for_a_student_raise(components, message):
    with pytest.raises(ValueError, match=message):
        check_student(Config({"components": components}))


@pytest.mark.parametrize(
    ("corpus", "message"),
    [
        ({"rename": {"PER": "person"}}, "has rename, which `distill` does not use"),
        ({"annotated_labels": ["PER"]}, "has annotated_labels, which"),
        ({"corpora": {"news": {"path": "news"}}}, "joins several corpora"),
    ],
)
def test_training_corpora_whose_settings_would_be_lost_raise(corpus, message):
    components = {"ner": {"factory": "bigru_ner"}}
    config = Config({"components": components, "corpora": {"train": corpus}})
    with pytest.raises(ValueError, match=message):
        check_student(config)
    if "corpora" not in corpus:
        check_student(config, gold=False)


def test_the_training_corpus_can_have_any_name():
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
    """The sample sentences with their entities, as a validation split."""
    rows = [read_row(example.reference) for example in read_examples(spacy.blank("en").vocab)]
    path = tmp_path_factory.mktemp("labelled")
    lines = [json.dumps({name: row[name] for name in ("tokens", "ner_tags")}) for row in rows]
    (path / "validation.jsonl").write_text("\n".join(lines), encoding="utf8")
    return path


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # spaCy's files
def test_a_student_trained_on_unlabelled_texts_predicts_like_its_teacher(
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
    student, teacher_nlp = spacy.load(output / "model-last"), spacy.load(teacher)
    assert student.get_pipe("ner").labels == LABELS
    assert student.meta["performance"]["ents_f"] == 1.0
    for text, ents, *_ in SENTENCES:
        for nlp in (student, teacher_nlp):
            doc = nlp(Doc(nlp.vocab, words=text.split()))
            assert [(e.start, e.end, e.label_) for e in doc.ents] == ents
    # With other settings of the loss, the stored outputs are used.
    monkeypatch.setattr("bigru_tagger.distill.teachers.load_teacher", None)
    run(*base, "--weight", 0.3, "--", *settings, "--training.max_steps", 1)
    config = util.load_config(output / "config.cfg", interpolate=False)
    assert config["corpora"]["train"]["weight"] == 0.3
    meta = teacher / "meta.json"
    meta.write_text(meta.read_text(encoding="utf8") + "\n", encoding="utf8")
    assert "the existing outputs have teacher = " in run(*base, "--", *settings, fails=True)


def test_errors_of_the_command_are_raised_before_the_teacher_runs(teacher, tokens, tmp_path):
    output = tmp_path / "out"
    config = CONFIGS / "sample.cfg"
    arguments = [teacher, config, tokens, "--output", output]
    crf = ["--", "--components.ner.model.decode", "crf"]
    assert 'set decode = "constrained"' in run(*arguments, *crf, fails=True)
    assert "--rename GPE: the value must be" in run(*arguments, "--rename", "GPE", fails=True)
    assert "temperature must be above 0" in run(*arguments, "--temperature", 0, fails=True)
    assert "no such file" in run(teacher, config, "no.conll", "--output", output, fails=True)
    missing = tmp_path / "no_teacher"
    assert "no_teacher: no such file or folder" in run(
        missing, config, tokens, "--output", output, fails=True
    )
    message = run(teacher, config, "bigru_tagger/sample", "--output", output, fails=True)
    assert "The teacher's labels are LOC, ORG, PER, but" in message
    assert "has entities with other labels: MISC" in message
    assert not (output / "teacher").exists()


@pytest.mark.parametrize("ours", [True, False])
def test_a_teachers_outputs_survive_an_augmenter(tmp_path, ours):
    store(tmp_path / "teacher", RecordingTeacher())
    name = "bigru_tagger.CaseAugmenter.v1" if ours else "spacy.lower_case.v1"
    settings = {"level_lower": 1.0} if ours else {"level": 1.0}
    augmenter = util.registry.augmenters.get(name)(**settings)
    nlp = build("bigru_ner")
    pipe = nlp.get_pipe("bigru_ner")
    plain = list(DistilledCorpus(tmp_path / "teacher")(nlp))
    found = list(DistilledCorpus(tmp_path / "teacher", augmenter=augmenter)(nlp))
    assert len(found) == len(plain) == 4
    for before, after in zip(plain, found, strict=True):
        assert [token.text for token in after.x] == [token.lower_ for token in before.x]
        kept, expected = pipe.soft_targets(after), pipe.soft_targets(before)
        assert kept.columns.tolist() == expected.columns.tolist()
        assert kept.probabilities.tolist() == expected.probabilities.tolist()
