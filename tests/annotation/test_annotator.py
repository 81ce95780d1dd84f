import json
import pickle
import subprocess
import sys
from threading import Thread

import numpy as np
import pandas as pd
import pytest
import spacy
from datasets import Dataset
from datasets.fingerprint import Hasher
from samples import SENTENCES, TEXTS, build

import bigru_tagger
from bigru_tagger import Annotator
from bigru_tagger.annotation import annotator as module

COLUMNS = ["start", "end", "label", "confidence", "tags_start", "tags_end", "tags"]
COLUMNS += ["chunks_start", "chunks_end", "chunks_label", "chunks_confidence"]
TOKENS = [text.split() for text in TEXTS]


def spans(batch, row, prefix=""):
    names = (f"{prefix}start", f"{prefix}end", f"{prefix}label")
    return list(zip(*(list(batch[name][row]) for name in names), strict=True))


def test_texts_get_entities_tags_and_chunks(model):
    batch = Annotator(model)({"id": [7, 8, 9, 10], "text": TEXTS})
    assert sorted(batch) == sorted(["id", "text", *COLUMNS])
    assert batch["id"] == [7, 8, 9, 10]
    for row, (text, ents, chunks, tags) in enumerate(SENTENCES):
        found = [(text[start:end], label) for start, end, label in spans(batch, row)]
        words = text.split()
        assert found == [(" ".join(words[start:end]), label) for start, end, label in ents]
        assert [(text[start:end], label) for start, end, label in spans(batch, row, "chunks_")] == [
            (" ".join(words[start:end]), label) for start, end, label in chunks
        ]
        assert batch["tags"][row].tolist() == tags.split()
        tokens = zip(batch["tags_start"][row], batch["tags_end"][row], strict=True)
        assert [text[start:end] for start, end in tokens] == words


def test_positions_of_given_tokens_are_indices(model):
    batch = Annotator(model)({"tokens": TOKENS})
    assert [spans(batch, row) for row in range(4)] == [ents for _, ents, _, _ in SENTENCES]
    assert [spans(batch, row, "chunks_") for row in range(4)] == [c for _, _, c, _ in SENTENCES]
    assert batch["tags_start"][1].tolist() == [0, 1, 2, 3, 4, 5, 6]


def test_confidence_is_that_of_the_pipeline(model):
    batch = Annotator(model)({"text": TEXTS})
    docs = list(spacy.load(model).pipe(TEXTS))
    for row, doc in enumerate(docs):
        assert batch["confidence"][row] == pytest.approx([e._.confidence for e in doc.ents])
        scores = doc.spans["chunks"].attrs["scores"]
        assert batch["chunks_confidence"][row] == pytest.approx(scores)


def test_the_batch_decides_the_type_of_the_output(model):
    annotator = Annotator(model)
    lists = annotator({"tokens": TOKENS})
    assert isinstance(lists["label"], list)
    assert annotator.columns == {
        name: {"i": "int64", "f": "float64", "U": "str"}[lists[name][0].dtype.kind]
        for name in annotator.columns
    }
    array = np.empty(4, dtype=object)
    array[:] = [np.array(words) for words in TOKENS]
    arrays = annotator({"tokens": array})
    assert arrays["label"].shape == (4,)
    frame = annotator(pd.DataFrame({"tokens": TOKENS}, index=[3, 2, 1, 0]))
    assert list(frame.index) == [3, 2, 1, 0]
    frames = list(annotator(iter([pd.DataFrame({"tokens": TOKENS[:3]}), frame[["tokens"]]])))
    assert [len(frame) for frame in frames] == [3, 4]
    for name in annotator.columns:
        for row in range(4):
            expected = lists[name][row].tolist()
            assert arrays[name][row].tolist() == frame[name].iloc[row].tolist() == expected
            assert frames[1][name].iloc[row].tolist() == expected
    with pytest.raises(ValueError, match="batch of type str"):
        annotator("text")


def test_batch_size_and_threads_change_nothing(model):
    expected = Annotator(model)({"text": TEXTS * 5})
    for settings in ({"batch_size": 3}, {"threads": 2}, {"threads": None}):
        found = Annotator(model, **settings)({"text": TEXTS * 5})
        for name, rows in expected.items():
            for row, other in zip(rows, found[name], strict=True):
                assert list(row) == (pytest.approx(list(other)) if "conf" in name else list(other))


def test_rows_that_cannot_be_annotated(model):
    texts = ["Ada wrote .", None, "", float("nan"), "x" * 1_000_001, TEXTS[1]]
    with pytest.raises(ValueError, match="row 1 of the batch: None is neither a text nor a list"):
        Annotator(model)({"text": texts})
    batch = Annotator(model, on_error="column")({"text": texts})
    assert [error is None for error in batch["error"]] == [True, False, True, False, False, True]
    assert batch["error"][3] == "nan is neither a text nor a list of tokens"
    assert "1000000" in batch["error"][4]
    assert batch["label"][1] is batch["tags"][1] is None
    assert batch["label"][2].tolist() == []
    assert spans(batch, 5) == [(12, 25, "LOC")]
    tokens = Annotator(model, on_error="column")({"tokens": [["Ada", ""], ["Ada", None], []]})
    assert tokens["error"][0].startswith("token 1 is ''")
    assert tokens["error"][1].startswith("token 1 is None")
    assert tokens["error"][2] is None


def test_columns_of_the_input(model):
    with pytest.raises(ValueError, match="no column 'text' among title: set `column`"):
        Annotator(model)({"title": TEXTS})
    assert spans(Annotator(model, column="title")({"title": TEXTS}), 1) == [(12, 25, "LOC")]
    labelled = {"label": [0] * 4, "text": TEXTS}
    with pytest.raises(ValueError, match="names label: set `prefix`"):
        Annotator(model)(labelled)
    with_prefix = Annotator(model, prefix="found_")(labelled)
    assert with_prefix["label"] == [0] * 4
    assert spans(with_prefix, 1, "found_") == [(12, 25, "LOC")]
    kept = Annotator(model, keep=["text"])(labelled)
    assert sorted(kept) == sorted(["text", *COLUMNS])
    with pytest.raises(ValueError, match="no columns id, which `keep` names, among label, text"):
        Annotator(model, keep=["id"])(labelled)
    with_error = {"error": [0] * 4, "text": TEXTS}
    assert Annotator(model)(with_error)["error"] == [0] * 4
    with pytest.raises(ValueError, match="names error: set `prefix`"):
        Annotator(model, on_error="column")(with_error)


def test_settings_are_checked(model, tmp_path):
    for settings, name in (({"batch_size": 0}, "batch_size"), ({"threads": 0}, "threads")):
        with pytest.raises(ValueError, match=f"{name}=0"):
            Annotator(model, **settings)
    with pytest.raises(ValueError, match="on_error='skip'"):
        Annotator(model, on_error="skip")
    with pytest.raises(ValueError, match="no such file or folder"):
        Annotator(tmp_path / "missing")


def test_it_is_pickled_as_settings_and_loaded_once(model, monkeypatch):
    annotator = Annotator(model)
    before = pickle.dumps(annotator)
    annotator({"text": TEXTS})
    assert pickle.dumps(annotator) == before
    assert len(before) < 1000
    # Engines unpickle it for each task.
    nlp = annotator.nlp
    assert pickle.loads(before).nlp is nlp
    monkeypatch.setattr(module.os, "getpid", lambda: -1)  # as in a forked process
    assert pickle.loads(before).nlp is not nlp


HASH = """
import sys
from datasets.fingerprint import Hasher
from bigru_tagger import Annotator
annotator = Annotator(sys.argv[1])
first = Hasher.hash(annotator)
annotator({"text": ["Ada"]})
print(first, Hasher.hash(annotator))
"""


def test_its_hash_is_stable_and_changes_with_the_model_and_the_settings(model, tmp_path):
    annotator = Annotator(model)
    expected = Hasher.hash(annotator)
    done = subprocess.run(
        [sys.executable, "-c", HASH, model], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [expected, expected]
    assert Hasher.hash(Annotator(model, prefix="x")) != expected
    folder = tmp_path / "model"
    build("bigru_ner").to_disk(folder)
    first = Annotator(folder)
    build("bigru_ner", seed=1).to_disk(folder)
    assert Hasher.hash(Annotator(folder)) != Hasher.hash(first)
    # For example, if workers have another version of the model.
    with pytest.raises(ValueError, match="not the model that the annotator was made for"):
        first({"text": TEXTS})


def test_threads_take_turns(model):
    annotator = Annotator(model)
    texts = [[f"{text} Unheard{i}{n}" for n in range(5) for text in TEXTS] for i in range(4)]
    expected = [annotator({"text": batch})["tags"] for batch in texts]
    found = {}

    def annotate(i):
        found[i] = annotator({"text": texts[i]})["tags"]

    threads = [Thread(target=annotate, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i, rows in enumerate(expected):
        assert [row.tolist() for row in found[i]] == [row.tolist() for row in rows]


def test_the_vocabulary_does_not_grow(model):
    annotator = Annotator(model, batch_size=2)
    annotator({"text": TEXTS})
    size = len(annotator.nlp.vocab.strings)
    annotator({"text": [f"Unheard{i} words{i}" for i in range(20)]})
    assert len(annotator.nlp.vocab.strings) == size


def test_components_of_others(tmp_path):
    nlp = spacy.blank("en")
    rules = nlp.add_pipe("span_ruler", config={"spans_key": "places", "annotate_ents": True})
    rules.add_patterns([{"label": "LOC", "pattern": "Oslo"}])
    ents = nlp.add_pipe("entity_ruler")
    ents.add_patterns([{"label": "LOC", "pattern": "Rome"}])
    nlp.to_disk(tmp_path / "rules")
    batch = Annotator(tmp_path / "rules")({"text": ["Rome and Oslo", "rain"]})
    # No component has probabilities of entities; those of spans depend on the Doc.
    assert "confidence" not in batch
    assert spans(batch, 0) == [(0, 4, "LOC"), (9, 13, "LOC")]
    assert spans(batch, 0, "places_") == [(9, 13, "LOC")]
    assert np.isnan(batch["places_confidence"][0]).all()
    assert spans(batch, 1) == []


@pytest.mark.parametrize("processes", [None, 2])
def test_datasets(model, processes):
    # The first rows have no entities: the types of the columns must not depend on the rows.
    texts = [TEXTS[2]] * 12 + [TEXTS[1]] * 12
    data = Dataset.from_dict({"id": range(24), "text": texts})
    found = data.map(Annotator(model), batched=True, batch_size=4, num_proc=processes)
    assert found["id"] == list(range(24))
    assert [spans(found, row) for row in range(24)] == [[]] * 12 + [[(12, 25, "LOC")]] * 12
    assert json.dumps(found[12]["tags"]) == json.dumps(SENTENCES[1][3].split())
    assert found.features["confidence"].feature.dtype == "float64"


def test_it_is_public():
    assert bigru_tagger.Annotator is Annotator
