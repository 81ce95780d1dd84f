"""Components that are saved with checksums, and files that were damaged or changed."""

import json
import shutil

import numpy as np
import pytest
import spacy
import srsly
from samples import NARROW, TEXTS, TINY, build, train
from thinc.api import Config

from bigru_tagger.errors import ConfigError, ModelError
from bigru_tagger.model.thinc_model import network_shim
from bigru_tagger.pipeline.saving import CHECKSUMS
from bigru_tagger.runtime.ensemble import load_arrays
from bigru_tagger.runtime.storage import checksum, checksum_arrays, pack_arrays, unpack_arrays


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    nlp = build("bigru_ner")
    train(nlp)
    folder = tmp_path_factory.mktemp("saved") / "model"
    nlp.to_disk(folder)
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    """A copy of the folder of the component, in a copy of the pipeline."""
    nlp = spacy.load(saved)
    nlp.to_disk(tmp_path / "model")
    return tmp_path / "model" / "bigru_ner"


def load(folder):
    return spacy.load(folder.parent)


def entities(nlp):
    return [
        [(ent.text, ent.label_, ent._.confidence) for ent in doc.ents] for doc in nlp.pipe(TEXTS)
    ]


def edit(path, change):
    settings = json.loads(path.read_text(encoding="utf8"))
    change(settings)
    path.write_text(json.dumps(settings), encoding="utf8")


def test_the_saved_structure_overrides_the_config(tmp_path):
    nlp = build("bigru_ner", model={**TINY, "occurrences": 4})
    train(nlp)
    nlp.to_disk(tmp_path)
    other = spacy.load(tmp_path, config={"components.bigru_ner.model.occurrences": 0})
    assert entities(other) == entities(nlp)


@pytest.mark.parametrize("factory", ["bigru_chunker", "bigru_tagger"])
def test_the_folder_of_another_kind_of_component_is_an_error(folder, factory):
    other = build(factory)
    other.to_disk(folder.parent / "other")
    shutil.rmtree(folder)
    shutil.copytree(folder.parent / "other" / factory, folder)
    with pytest.raises(ModelError, match=r"bigru_ner: 'cfg': .* of another kind of component"):
        load(folder)


# --- checksums


def test_a_checksum_is_that_of_all_parts():
    # The check value of CRC-32 in its catalogue: that of the digits from 1 to 9.
    assert checksum([b"123456789"]) == checksum([b"1234", b"", b"56789"]) == "crc32:cbf43926"


def test_a_checksum_of_arrays_covers_names_shapes_types_and_values():
    array = np.arange(6, dtype=np.float32)
    same = checksum_arrays({"a": array, "b": array})
    assert checksum_arrays({"b": array, "a": array}) == same
    others = [
        {"a": array, "c": array},
        {"a": array, "b": array.reshape(2, 3)},
        {"a": array, "b": array.view(np.int32)},
        {"a": array, "b": array + 1},
        {"a": array},
    ]
    sums = {same, checksum_arrays({"a": array, "b": array}, "text")}
    sums |= {checksum_arrays(other) for other in others}
    assert len(sums) == 7


def test_each_changed_byte_of_an_array_file_is_found_or_has_no_effect():
    arrays = {"a": np.array([1.5, -2.0], np.float32), "b": np.array([True, False])}
    data = pack_arrays(arrays, "spec", {"width": 2})
    assert data == pack_arrays(dict(reversed(arrays.items())), "spec", {"width": 2})
    assert len(data) % 2 == 0
    refused = 0
    for place in range(len(data)):
        for bit in range(8):
            changed = bytearray(data)
            changed[place] ^= 1 << bit
            try:
                found, spec = unpack_arrays(bytes(changed), "spec")
            except ModelError:
                refused += 1
            else:
                assert spec == {"width": 2}
                assert found.keys() == arrays.keys()
                assert all(np.array_equal(found[name], arrays[name]) for name in arrays)
    # What has no effect is white space, and the key of the checksum.
    assert refused > 0.8 * 8 * len(data)


@pytest.mark.parametrize("name", ["cfg", "model"])
def test_each_changed_file_is_an_error_that_says_what_to_do(folder, name):
    expected = entities(load(folder))
    assert any(expected)
    data = (folder / name).read_bytes()
    for place in (0, len(data) // 2, len(data) - 1):
        changed = bytearray(data)
        changed[place] ^= 1
        (folder / name).write_bytes(changed)
        message = rf"bigru_ner: '{name}' has changed since it was saved.*remove 'checksums'"
        with pytest.raises(ModelError, match=message):
            load(folder)
    (folder / name).write_bytes(data)
    assert entities(load(folder)) == expected


def test_settings_that_were_changed_on_purpose_are_loaded_without_checksums(folder):
    edit(folder / "cfg", lambda settings: settings.update(threshold=0.75))
    with pytest.raises(ModelError, match="'cfg' has changed"):
        load(folder)
    (folder / CHECKSUMS).unlink()
    nlp = load(folder)
    assert nlp.get_pipe("bigru_ner").cfg["threshold"] == 0.75
    nlp.to_disk(folder.parent)  # writes the checksums again
    assert load(folder).get_pipe("bigru_ner").cfg["threshold"] == 0.75


def test_settings_are_changed_in_python_and_saved(folder):
    nlp = load(folder)
    nlp.get_pipe("bigru_ner").cfg["threshold"] = 0.5
    nlp.to_disk(folder.parent)
    assert load(folder).get_pipe("bigru_ner").cfg["threshold"] == 0.5


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"recall_bias": np.float32(1.0)}, "recall_bias must be a finite number"),
        ({"recall_bias": {"NOPE": 1.0}}, "recall_bias has the unknown label 'NOPE'"),
        ({"threshold": "x"}, "threshold must be a number from 0 to 1; got 'x'"),
    ],
)
def test_settings_that_could_not_be_loaded_are_not_saved(folder, settings, message):
    nlp = load(folder)
    nlp.get_pipe("bigru_ner").cfg.update(settings)
    for save in (nlp.to_bytes, lambda: nlp.to_disk(folder.parent / "other")):
        with pytest.raises(ConfigError, match=message):
            save()


def test_the_config_and_meta_of_the_pipeline_can_be_edited(folder):
    config = Config().from_disk(folder.parent / "config.cfg")
    config["nlp"]["batch_size"] = 7
    config["components"]["bigru_ner"]["threshold"] = 0.5
    config.to_disk(folder.parent / "config.cfg")
    edit(folder.parent / "meta.json", lambda meta: meta.update(version="9.9"))
    nlp = load(folder)
    assert nlp.batch_size == 7
    assert nlp.get_pipe("bigru_ner").cfg["threshold"] == 0.0  # the saved value


@pytest.mark.parametrize(
    ("content", "message"),
    [("", "'checksums': the model is damaged"), ("[]", "'checksums' has no checksums")],
)
def test_damaged_checksums_are_an_error(folder, content, message):
    (folder / CHECKSUMS).write_text(content, encoding="utf8")
    with pytest.raises(ModelError, match=message):
        load(folder)


def test_bytes_have_checksums_too(saved):
    pipe = spacy.load(saved).get_pipe("bigru_ner")
    data = pipe.to_bytes()
    parts = srsly.msgpack_loads(data)
    assert parts.keys() == {"cfg", "model", "checksums", "vocab"}
    other = build("bigru_ner", seed=1).get_pipe("bigru_ner")
    assert other.from_bytes(data).labels == pipe.labels
    parts["cfg"] = parts["cfg"].replace(b"LOC", b"LOK")
    with pytest.raises(ModelError, match="bigru_ner: 'cfg' has changed"):
        other.from_bytes(srsly.msgpack_dumps(parts))
    with pytest.raises(ModelError, match="bigru_ner: the model is damaged"):
        other.from_bytes(data[:-5])
    only = srsly.msgpack_loads(pipe.to_bytes(exclude=["model", "vocab"]))
    assert only.keys() == {"cfg", "checksums"}
    assert other.from_bytes(srsly.msgpack_dumps(only), exclude=["model"]).labels == pipe.labels
    with pytest.raises(ModelError, match="the file 'model' is missing"):
        other.from_bytes(srsly.msgpack_dumps(only))


def test_the_network_of_a_shared_encoder_has_a_checksum(tmp_path):
    nlp = spacy.blank("en")
    encoder = {**NARROW, "@architectures": "bigru_tagger.BiGRUTok2Vec.v1", "embed": TINY["embed"]}
    nlp.add_pipe("tok2vec", config={"model": encoder})
    nlp.initialize()
    shim = network_shim(nlp.get_pipe("tok2vec").model)
    data = bytearray(shim.to_bytes())
    assert load_arrays(bytes(data)).spec == shim.spec
    data[-1] ^= 1
    with pytest.raises(ModelError, match="the network has changed since it was saved"):
        load_arrays(bytes(data))


# --- files without checksums, as version 0.2 wrote them


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"threshold": 1.5}, "threshold must be a number from 0 to 1; got 1.5"),
        ({"threshold": None}, "threshold must be a number"),
        ({"threshold": True}, "threshold must be a number"),
        ({"temperature": 0.0}, "temperature must be above 0; got 0.0"),
        ({"temperature": float("nan")}, "temperature must be above 0; got nan"),
        ({"recall_bias": "1"}, "recall_bias must be a finite number"),
        ({"recall_bias": {"LOC": None}}, "recall_bias must be a finite number"),
        ({"recall_bias": {"NOPE": 1.0}}, "recall_bias has the unknown label 'NOPE'"),
        ({"label_weights": {"LOC": -1}}, "label_weights must have a number of at least 0"),
        ({"label_smoothing": 1.0}, "label_smoothing must be at least 0 and below 1"),
        ({"learned_labels": []}, "learned_labels is the setting `labels`"),
        ({"incorrect_spans_key": 3}, "incorrect_spans_key must be a name or null"),
        ({"labels": "LOC"}, "labels must be a list of different labels"),
        ({"labels": ["LOC", ""]}, "labels must be a list of different labels"),
        ({"labels": ["LOC", "LOC", "PER"]}, "labels must be a list of different labels"),
        ({"labels": ["LOC"]}, "the 1 labels of 'cfg' need 5 tags, but the network has 13"),
    ],
)
def test_settings_out_of_range_are_an_error(folder, settings, message):
    (folder / CHECKSUMS).unlink()
    edit(folder / "cfg", lambda own: own.update(settings))
    with pytest.raises(ModelError, match=message):
        load(folder)


def test_labels_are_needed(folder):
    (folder / CHECKSUMS).unlink()
    edit(folder / "cfg", lambda own: own.pop("labels"))
    with pytest.raises(ModelError, match="'cfg' has no labels"):
        load(folder)


@pytest.mark.parametrize("name", ["cfg", "model"])
def test_missing_and_damaged_files_are_an_error(folder, name):
    (folder / CHECKSUMS).unlink()
    path = folder / name
    data = path.read_bytes()
    for damaged in (b"", data[: len(data) // 2], data + b"\xff", b"\xff" * 10):
        path.write_bytes(damaged)
        with pytest.raises(ModelError, match=f"'{name}': "):
            load(folder)
    path.unlink()
    with pytest.raises(ModelError, match=f"the file '{name}' is missing"):
        load(folder)
    path.mkdir()
    with pytest.raises(ModelError, match=f"the file '{name}' is missing"):
        load(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda message: message["nodes"][0].pop("refs"),
        lambda message: message["nodes"][0]["dims"].update(nO=1 << 40),
        lambda message: message["attrs"].clear(),
        lambda message: message["shims"].clear(),
        lambda message: message["shims"].__setitem__(0, [7]),
        lambda message: message.clear(),
    ],
)
def test_an_inconsistent_model_is_an_error(folder, change):
    (folder / CHECKSUMS).unlink()
    message = srsly.msgpack_loads((folder / "model").read_bytes())
    change(message)
    (folder / "model").write_bytes(srsly.msgpack_dumps(message))
    with pytest.raises(ModelError):
        load(folder)


def test_settings_of_the_config_are_checked():
    for settings in ({"threshold": 1.5}, {"threshold": -1}, {"labels": ["A", "A"]}):
        with pytest.raises(ConfigError, match=r"bigru_ner: (threshold|learned_labels)"):
            spacy.blank("en").add_pipe("bigru_ner", config=settings)
