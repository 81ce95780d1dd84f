"""Models of `transformers` have the same predictions as the spaCy components."""

import copy
import itertools
import json
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import safetensors.torch
import torch
from huggingface_hub import ModelCard, ModelCardData
from hypothesis import example, given, settings
from hypothesis import strategies as st
from samples import CRF, NARROW, SENTENCES, TEXTS, TINY, build, read_examples
from spacy.tokens import Doc
from transformers import (
    AutoConfig,
    AutoModelForTokenClassification,
    AutoTokenizer,
    DataCollatorForTokenClassification,
    Trainer,
    TrainingArguments,
    pipeline,
)
from transformers.utils import hub

from bigru_tagger.errors import ConfigError, ModelError
from bigru_tagger.huggingface.exchange import load_transformers, to_transformers
from bigru_tagger.huggingface.files import checksum_weights
from bigru_tagger.huggingface.model_config import BiGRUConfig
from bigru_tagger.huggingface.token_classification import BiGRUForTokenClassification
from bigru_tagger.huggingface.word_tokenizer import WordTokenizer

WORDS = st.sampled_from(
    ["Ada", "Lovelace", "New", "York", "of", "Bob", ".", "!", " ", "\n\n", "😀", "don't", "São"]
)
# Tokens without spaces between them, and scripts without spaces.
PIECES = st.sampled_from(
    [
        *("Ada", "Bob", "York", "'s", "(", ")", '"', "“", "”", "«", "-", "/", ".", ",", "。", "…"),
        *("東京", "กรุงเทพ", "القاهرة", "Αθήνα", "e\u0301"),
        *(" ", "\n", "\u00a0", "\u200d", "\ufeff", "\0"),
    ]
)
ANY_TEXT = st.one_of(
    st.text(max_size=30),
    st.lists(WORDS, max_size=12).map(" ".join),
    st.lists(PIECES, max_size=12).map("".join),
)
STRATEGIES = ("simple", "first", "average", "max")


def entities(doc):
    return [(ent.start_char, ent.end_char, ent.label_) for ent in doc.ents]


def groups(found):
    return [(group["start"], group["end"], group["entity_group"]) for group in found]


def tagger(nlp, name, **settings):
    model, tokenizer = to_transformers(nlp, name)
    model.config.settings.update(settings)
    return pipeline(
        "token-classification", model=model, tokenizer=tokenizer, aggregation_strategy="simple"
    )


@pytest.fixture(scope="module")
def trained_ner(ner):
    """The trained spaCy pipeline, and its `transformers` pipeline."""
    return ner, tagger(ner, "bigru_ner")


def scrambled(model):
    """A pipeline that predicts many entities, including adjacent ones and whitespace."""
    nlp = build("bigru_ner", model=model, seed=2)
    network = nlp.get_pipe("bigru_ner").model.shims[0].network
    torch.manual_seed(7)
    with torch.no_grad():
        network.linear.weight.normal_(std=3.0)
        network.embed["words"].seen.fill_(True)  # so that the words have different vectors
    return nlp


@pytest.fixture(scope="module", params=[TINY, CRF, NARROW], ids=["tiny", "crf", "narrow"])
def untrained(request):
    """A scrambled spaCy pipeline, and its `transformers` pipeline."""
    nlp = scrambled(request.param)
    return nlp, tagger(nlp, "bigru_ner")


# --- the same entities


@settings(max_examples=60, deadline=None)
@given(text=ANY_TEXT)
@example(text="")
@example(text=" ")
@example(text="Ada Lovelace  New York\n\nBob 😀 Eve")
def test_a_pipeline_finds_the_entities_of_the_component(trained_ner, text):
    nlp, tag = trained_ner
    assert groups(tag(text)) == entities(nlp(text))


@settings(max_examples=60, deadline=None)
@given(text=ANY_TEXT, strategy=st.sampled_from(STRATEGIES))
@example(text="Ada Lovelace New York Bob Eve", strategy="simple")
@example(text="(Ada)Bob-York.", strategy="average")
def test_adjacent_entities_are_the_same(untrained, text, strategy):
    nlp, tag = untrained
    assert groups(tag(text, aggregation_strategy=strategy)) == entities(nlp(text))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_tokens_without_spaces_between_them_are_words(untrained, strategy):
    nlp, tag = untrained
    text = "\"(Ada) Lovelace-York's,\" Bob. (New York) São; don't!"
    doc = nlp(text)
    glued = [ent for ent in doc.ents if ent.start and not doc[ent.start - 1].whitespace_]
    assert glued
    assert groups(tag(text, aggregation_strategy=strategy)) == entities(doc)
    words = [token.text for token in doc]
    found = tag(words, is_split_into_words=True, delimiter="", aggregation_strategy=strategy)
    found = found[0] if found and isinstance(found[0], list) else found
    assert groups(found) == [
        (sum(map(len, words[: ent.start])), sum(map(len, words[: ent.end])), ent.label_)
        for ent in nlp(Doc(nlp.vocab, words=words)).ents
    ]


def test_the_examples_have_adjacent_entities(untrained):
    nlp, _ = untrained
    found = nlp("Ada Lovelace of Bob . don't New York São Ada Lovelace of Bob York").ents
    pairs = [(a, b) for a, b in itertools.pairwise(found) if a.end == b.start]
    assert pairs


def test_the_score_is_the_probability_of_the_entity(trained_ner):
    nlp, tag = trained_ner
    for text in TEXTS:
        found = tag(text)
        assert [group["score"] for group in found] == pytest.approx(
            [ent._.confidence for ent in nlp(text).ents], abs=1e-5
        )
    assert sum(len(tag(text)) for text in TEXTS) == 7


def test_texts_in_batches_are_tagged_as_one_by_one(trained_ner):
    nlp, tag = trained_ner
    texts = [*TEXTS, "", " ".join(TEXTS), "Ada"]
    expected = [groups(tag(text)) for text in texts]
    assert expected == [entities(nlp(text)) for text in texts]
    assert [groups(found) for found in tag(texts, batch_size=3)] == expected
    # transformers cannot pad a text without tokens on the left.
    full = [number for number, text in enumerate(texts) if text]
    left = copy.copy(tag)
    left.tokenizer = WordTokenizer(padding_side="left")
    found = left([texts[number] for number in full], batch_size=8)
    assert list(map(groups, found)) == [expected[number] for number in full]


@settings(max_examples=30, deadline=None)
@given(
    texts=st.lists(
        st.one_of(
            ANY_TEXT,
            # Texts in which predicted sentence starts could affect the next text.
            st.tuples(
                st.sampled_from(["", '"', ")", "…", "。", " ", "« "]),
                st.sampled_from(TEXTS),
                st.sampled_from(["", ".", '."', "!)", "。", "\n", " -"]),
            ).map("".join),
        ),
        min_size=2,
        max_size=5,
    ),
    batch_size=st.integers(2, 5),
)
@example(texts=["It rained.", '"Ada Lovelace left," Bob met Eve.', ") Bob met Eve."], batch_size=3)
def test_a_text_is_tagged_alike_in_any_batch(untrained, texts, batch_size):
    _, tag = untrained
    for order in (texts, texts[::-1]):
        for text, found in zip(order, tag(order, batch_size=batch_size), strict=True):
            alone = tag(text)
            assert groups(found) == groups(alone)
            scores = [group["score"] for group in alone]
            assert [group["score"] for group in found] == pytest.approx(scores, abs=1e-5)


def test_pretokenized_texts(trained_ner):
    nlp, tag = trained_ner
    words = ["Ada", "Lovelace", "isn't", "in", "New York", "City"]
    found = tag(words, is_split_into_words=True)
    doc = nlp(Doc(nlp.vocab, words=words))
    assert groups(found[0] if found and isinstance(found[0], list) else found) == entities(doc)


@pytest.mark.parametrize("changed", [{"threshold": 0.99}, {"recall_bias": -9.0}])
def test_settings_are_those_of_the_component(untrained, changed):
    nlp, tag = untrained
    text = " ".join(TEXTS)
    before = groups(tag(text))
    pipe = nlp.get_pipe("bigru_ner")
    kept = dict(pipe.cfg)
    pipe.cfg.update(changed)
    tag.model.config.settings.update(changed)
    expected = entities(nlp(text))
    assert expected != before
    assert groups(tag(text)) == expected
    pipe.cfg.update(kept)
    tag.model.config.settings.update({name: kept[name] for name in changed})


def test_all_components_have_their_pipelines(task, trained):
    tag = tagger(trained, task.factory)
    for text in TEXTS:
        doc = trained(text)
        if task.factory == "bigru_tagger":
            found = tag(text, aggregation_strategy="none")
            assert [one["entity"] for one in found] == [token.tag_ for token in doc]
        else:
            spans = [doc[start:end] for start, end, _ in task.read(doc)]
            places = [(start, end) for start, end, _ in groups(tag(text))]
            assert places == [(span.start_char, span.end_char) for span in spans]
            labels = [label for *_, label in task.read(doc)]
            assert [group["entity_group"] for group in tag(text)] == labels


def test_sentence_starts_have_the_effect_of_those_of_a_doc():
    nlp = scrambled(TINY)
    model, tokenizer = to_transformers(nlp, "bigru_ner")
    words = ["Ada", "Lovelace", "of", "Bob", "New", "York", "Ada", "Lovelace"]
    inputs = tokenizer(words, is_split_into_words=True, return_tensors="pt")
    found = []
    for starts in ([1, 0, 0, 0, 0, 0, 0, 0], [1, 1, 1, 0, 1, 0, 0, 1]):
        logits = model(**inputs, sentence_starts=torch.tensor([starts])).logits[0]
        tags = [model.config.id2label[number] for number in logits.argmax(1).tolist()]
        doc = nlp(Doc(nlp.vocab, words=words, sent_starts=[start == 1 for start in starts]))
        assert tags == [f"{t.ent_iob_}-{t.ent_type_}" if t.ent_type_ else t.ent_iob_ for t in doc]
        found.append(tags)
    assert found[0] != found[1]


# --- the same loss


def gold_labels(nlp, model, name):
    """The encoded `SENTENCES` with the ids of their gold labels."""
    tokenizer = WordTokenizer.from_spacy(nlp)
    rows = []
    for text, ents, chunks, tags in SENTENCES:
        labels = ["O"] * len(text.split())
        for start, end, label in ents if name == "bigru_ner" else chunks:
            labels[start:end] = [f"B-{label}"] + [f"I-{label}"] * (end - start - 1)
        if name == "bigru_tagger":
            labels = tags.split()
        row = dict(tokenizer(text.split(), is_split_into_words=True))
        rows.append({**row, "labels": [model.config.label2id[label] for label in labels]})
    return rows, DataCollatorForTokenClassification(tokenizer)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize(
    ("decode", "smoothing", "weight"),
    [
        ("constrained", 0.0, None),
        ("legal", 0.3, None),
        ("crf", 0.0, None),
        ("constrained", 0.0, 3.0),
        ("crf", 0.0, 3.0),
    ],
    ids=["constrained", "smooth", "crf", "weighted", "weighted-crf"],
)
def test_loss_and_gradient_are_those_of_the_component(task, decode, smoothing, weight, side):
    name = task.factory
    weights = None if weight is None else {task.labels[0]: weight}
    model = {**TINY, "decode": decode, "input_dropout": 0.0, "hidden_dropout": 0.0}
    nlp = build(name, model=model, seed=1, label_smoothing=smoothing, label_weights=weights)
    model, _ = to_transformers(nlp, name)
    rows, collate = gold_labels(nlp, model, name)
    collate.tokenizer.padding_side = side
    model.train()
    loss = model(**collate(rows)).loss
    loss.backward()

    pipe = nlp.get_pipe(name)
    losses = nlp.update(read_examples(nlp.vocab), sgd=False, drop=0.0)
    assert loss.item() == pytest.approx(losses[name], rel=1e-5)
    parameters = dict(pipe.model.shims[0].network.named_parameters())
    assert set(parameters) == {key for key, _ in model.network.named_parameters()}
    for key, parameter in model.network.named_parameters():
        assert torch.allclose(parameter.grad, parameters[key].grad, atol=1e-6), key
    # In evaluation mode the loss is the same, since this network has no dropout.
    assert model.eval()(**collate(rows)).loss.item() == pytest.approx(loss.item(), rel=1e-4)


def test_tokens_without_labels_do_not_count():
    nlp = build("bigru_ner", seed=1)
    model, _ = to_transformers(nlp, "bigru_ner")
    rows, collate = gold_labels(nlp, model, "bigru_ner")
    batch = collate(rows)
    only_last = {**batch, "labels": batch["labels"].clone()}
    only_last["labels"][:-1] = -100
    alone = model(**collate(rows[-1:])).loss
    assert model(**only_last).loss.item() == pytest.approx(alone.item(), rel=1e-6)
    nothing = {**batch, "labels": torch.full_like(batch["labels"], -100)}
    assert model.train()(**nothing).loss.item() == 0.0


def test_any_labels_have_a_loss_with_a_crf():
    nlp = build("bigru_ner", model=CRF)
    model, tokenizer = to_transformers(nlp, "bigru_ner")
    inputs = tokenizer("Ada Lovelace", return_tensors="pt")
    begin = model.config.label2id["B-PER"]
    # Invalid IOB2 sequences, such as I- after O, follow conlleval's rules.
    for labels in ([begin + 1, begin + 1], [begin, -100], [0, begin + 1]):
        assert torch.isfinite(model(**inputs, labels=torch.tensor([labels])).loss)


# --- inputs


def test_missing_inputs_are_named(trained_ner):
    model, tokenizer = trained_ner[1].model, trained_ner[1].tokenizer
    inputs = dict(tokenizer("Ada slept", return_tensors="pt"))
    with pytest.raises(ValueError, match="characters is required: pass all outputs"):
        model(input_ids=inputs["input_ids"])
    with pytest.raises(ValueError, match="input_ids or attention_mask is required"):
        model(characters=inputs["characters"])
    with pytest.raises(ValueError, match="holds 2 words, but 'attention_mask' has 1 token"):
        model(attention_mask=torch.tensor([[1]]), characters=inputs["characters"])
    without = model(input_ids=inputs["input_ids"], characters=inputs["characters"])
    assert torch.equal(without.logits, model(**inputs).logits)
    as_tuple = model(**inputs, return_dict=False)
    assert len(as_tuple) == 1
    assert torch.equal(as_tuple[0], without.logits)


def test_only_training_logits_have_a_gradient(trained_ner):
    model, tokenizer = copy.deepcopy(trained_ner[1].model), trained_ner[1].tokenizer
    inputs = tokenizer("Ada slept", return_tensors="pt")
    assert not model(**inputs).logits.requires_grad
    assert model.train()(**inputs).logits.requires_grad


# --- storage


@pytest.fixture(scope="module")
def folder(trained_ner, tmp_path_factory):
    """A folder with the trained model and its tokenizer. Tests must not change it."""
    path = tmp_path_factory.mktemp("pretrained") / "model"
    trained_ner[1].model.save_pretrained(path)
    trained_ner[1].tokenizer.save_pretrained(path)
    return path


def test_a_folder_contains_no_pickle(folder, trained_ner):
    assert {path.name for path in folder.iterdir()} - {"special_tokens_map.json"} == {
        "README.md",
        "config.json",
        "model.safetensors",
        "spacy_tokenizer",
        "tokenizer_config.json",
    }
    with safetensors.safe_open(folder / "model.safetensors", "pt") as file:
        names = set(file.keys())
    assert names == set(trained_ner[1].model.state_dict())
    for path in folder.iterdir():
        assert not path.read_bytes().startswith(
            (b"\x80", b"PK")
        )  # magic bytes of pickle and torch.save


def test_a_loaded_model_is_the_same(folder, trained_ner):
    model, tokenizer = trained_ner[1].model, trained_ner[1].tokenizer
    config = AutoConfig.from_pretrained(folder)
    assert isinstance(config, BiGRUConfig)
    assert config.id2label == model.config.id2label
    assert config.tags == ["O", *(f"{p}-{t}" for t in ("LOC", "ORG", "PER") for p in "BI")]
    loaded = AutoModelForTokenClassification.from_pretrained(folder)
    assert isinstance(loaded, BiGRUForTokenClassification)
    state = model.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in loaded.state_dict().items())
    assert loaded.network.to_bytes() == model.network.to_bytes()
    again = AutoTokenizer.from_pretrained(folder)
    inputs = again(TEXTS, padding=True, return_tensors="pt")
    expected = tokenizer(TEXTS, padding=True, return_tensors="pt")
    assert torch.equal(inputs["input_ids"], expected["input_ids"])
    assert torch.equal(loaded(**inputs).logits, model(**expected).logits)


def test_another_process_without_network_has_the_same_predictions(folder, trained_ner):
    code = (
        "import json, sys, bigru_tagger.huggingface.token_classification\n"
        "from transformers import pipeline\n"
        f"tag = pipeline('token-classification', model={str(folder)!r},"
        " aggregation_strategy='simple')\n"
        "found = tag(json.loads(sys.argv[1]))\n"
        "print(json.dumps([[(g['start'], g['end'], g['entity_group']) for g in groups]"
        " for groups in found]))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, json.dumps(TEXTS)],
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout.splitlines()[-1])
    nlp = trained_ner[0]
    assert [list(map(tuple, one)) for one in found] == [entities(nlp(text)) for text in TEXTS]


def test_copies_and_pickles_predict_alike(trained_ner):
    model, tokenizer = trained_ner[1].model, trained_ner[1].tokenizer
    inputs = tokenizer(TEXTS, padding=True, return_tensors="pt")
    expected = model(**inputs).logits
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(other(**inputs).logits, expected)
        with torch.no_grad():
            other.network.linear.bias += 5.0
        assert torch.equal(model(**inputs).logits, expected)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda config: config["network"].update(hidden=[8]), "do not match the network"),
        (lambda config: config["network"]["embed"].pop(), "network has no input"),
        (lambda config: config["network"].update(cells="gru"), "is not a valid network"),
        (lambda config: config["network"].pop("embed"), "is not a valid network"),
        (lambda config: config.update(vocab_bytes=1 << 40), "vocab is U8"),
        (lambda config: config["network"].update(hidden=[1 << 20]), "do not match the network"),
        (lambda config: config["network"].update(hidden=[1 << 40]), "the model is damaged"),
        (lambda config: config["network"].update(hidden=[8] * 99), "config.json has 99 layers"),
        (lambda config: config["settings"].update(threshold=2.0), "threshold must be a number"),
        (
            lambda config: config["pipeline"].update(components={}),
            "must have exactly one component",
        ),
        (
            lambda config: config.update(id2label={"0": "O", "1": "B-X", "2": "I-X"}),
            "requires 5 tags",
        ),
        (lambda config: config.update(id2label={"0": "O", "1": "X"}), "id2label must contain"),
    ],
)
def test_an_inconsistent_config_is_refused(folder, tmp_path, damage, message):
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf8"))
    damage(config)
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf8")

    with pytest.raises(ModelError, match=r"config\.json has changed since it was saved"):
        load_transformers(str(tmp_path))
    del config["checksums"]  # as in a model of version 0.2
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf8")
    with pytest.raises(ModelError, match=message):
        load_transformers(str(tmp_path))


def test_a_file_without_all_weights_is_refused(folder, tmp_path):
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    tensors = safetensors.torch.load_file(tmp_path / "model.safetensors")
    del tensors["network.linear.weight"]
    safetensors.torch.save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"network\.linear\.weight is missing instead of"):
        BiGRUForTokenClassification.from_pretrained(tmp_path)
    integers = tensors | {"network.linear.weight": torch.zeros(13, 8, dtype=torch.int32)}
    safetensors.torch.save_file(integers, tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match=r"network\.linear\.weight is I32 .* instead of float"):
        BiGRUForTokenClassification.from_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"nonsense")
    with pytest.raises(ModelError, match="the model is damaged"):
        BiGRUForTokenClassification.from_pretrained(tmp_path)


def test_only_safetensors_are_read(folder, tmp_path):
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    state = BiGRUForTokenClassification.from_pretrained(tmp_path).state_dict()
    (tmp_path / "model.safetensors").unlink()
    torch.save(state, tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"no model\.safetensors.*Only safetensors files are read"):
        BiGRUForTokenClassification.from_pretrained(tmp_path)
    with pytest.raises(ModelError, match="only safetensors files are read"):
        BiGRUForTokenClassification.from_pretrained(tmp_path, use_safetensors=False)


def test_changed_weights_are_refused(folder, tmp_path):
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    path = tmp_path / "model.safetensors"
    tensors = safetensors.torch.load_file(path)
    tensors["network.linear.bias"][0] += 1.0
    safetensors.torch.save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(ModelError, match="content of the weights has changed"):
        BiGRUForTokenClassification.from_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf8"))
    del config["checksums"]
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf8")
    loaded = BiGRUForTokenClassification.from_pretrained(tmp_path)
    assert loaded.network.linear.bias[0] == tensors["network.linear.bias"][0]


def test_weights_in_several_files_are_checked(folder, tmp_path):
    model = BiGRUForTokenClassification.from_pretrained(folder)
    model.save_pretrained(tmp_path / "shards", max_shard_size="100KB")
    assert len(list((tmp_path / "shards").glob("model-*.safetensors"))) > 1
    loaded = BiGRUForTokenClassification.from_pretrained(tmp_path / "shards")
    expected = model.state_dict()
    assert all(torch.equal(expected[name], x) for name, x in loaded.state_dict().items())


def test_weights_are_loaded_in_float32(folder, tmp_path):
    model = BiGRUForTokenClassification.from_pretrained(folder, dtype="auto")
    assert model.network.linear.weight.dtype == torch.float32
    with pytest.raises(ConfigError, match=r"in float32, not in torch\.bfloat16"):
        BiGRUForTokenClassification.from_pretrained(folder, dtype=torch.bfloat16)
    model.to(torch.bfloat16).save_pretrained(tmp_path)
    loaded = BiGRUForTokenClassification.from_pretrained(tmp_path)
    assert loaded.network.linear.weight.dtype == torch.float32
    expected = model.network.linear.weight.float()
    torch.testing.assert_close(loaded.network.linear.weight, expected)


def test_the_checksum_of_weights_depends_on_values_but_not_on_files(tmp_path):
    tensors = {"a": torch.tensor([1.5], dtype=torch.bfloat16), "b": torch.arange(3)}
    names = {"all": ["a", "b"], "a": ["a"], "b": ["b"]}
    for name, own in names.items():
        path = tmp_path / f"{name}.safetensors"
        safetensors.torch.save_file({key: tensors[key] for key in own}, path)
    expected = checksum_weights([tmp_path / "all.safetensors"])
    assert checksum_weights([tmp_path / f"{name}.safetensors" for name in "ba"]) == expected
    safetensors.torch.save_file({**tensors, "a": -tensors["a"]}, tmp_path / "all.safetensors")
    assert checksum_weights([tmp_path / "all.safetensors"]) != expected


def test_the_order_of_embeddings_is_kept_where_json_is_sorted(tmp_path):
    nlp = build("bigru_ner", model=NARROW)  # the name that sorts first, characters, is second
    model, tokenizer = to_transformers(nlp, "bigru_ner")
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf8"))
    text = json.dumps(config, sort_keys=True)
    (tmp_path / "config.json").write_text(text, encoding="utf8")
    loaded = BiGRUForTokenClassification.from_pretrained(tmp_path)
    inputs = tokenizer(TEXTS, padding=True, return_tensors="pt")
    assert torch.equal(loaded(**inputs).logits, model(**inputs).logits)


# --- the hub


def test_what_push_to_hub_would_upload(trained_ner, monkeypatch):
    uploaded = {}

    def upload(self, working_dir, repo_id, *args, **kwargs):
        for name in os.listdir(working_dir):
            with open(os.path.join(working_dir, name), "rb") as file:
                uploaded[name] = file.read()
        return repo_id

    blank = ModelCard.from_template(ModelCardData(library_name="transformers"))
    assert "[More Information Needed]" in blank.text
    monkeypatch.setattr(hub, "create_and_tag_model_card", lambda *args, **kwargs: blank)
    monkeypatch.setattr(hub.PushToHubMixin, "_upload_modified_files", upload)

    class Repository:
        repo_id = "me/model"

    if hasattr(hub, "hf_api"):
        monkeypatch.setattr(
            hub, "hf_api", type("Api", (), {"create_repo": lambda *a, **k: Repository})
        )
    else:
        monkeypatch.setattr(hub, "create_repo", lambda *args, **kwargs: Repository)
    model = trained_ner[1].model
    assert model.push_to_hub("me/model") == "me/model"
    assert set(uploaded) == {"README.md", "config.json", "model.safetensors"}
    card = uploaded["README.md"].decode()
    assert r"# en\_pipeline" in card
    assert "`LOC`, `ORG`, `PER`" in card
    blank.content = "---\nlicense: mit\n---\nWritten by hand."
    model.push_to_hub("me/model")
    assert "Written by hand." in uploaded["README.md"].decode()
    trained_ner[1].tokenizer.push_to_hub("me/model")
    assert "spacy_tokenizer" in uploaded


# --- new models, and training


def test_a_new_model_is_initialized_as_in_spacy():
    config = BiGRUConfig(
        {
            "nlp": {"lang": "de"},
            "components": {"names": {"factory": "bigru_ner", "model": TINY, "recall_bias": 1.5}},
        },
        id2label={0: "O", 1: "B-PER", 2: "I-PER"},
    )
    model = BiGRUForTokenClassification(config)
    assert config.settings == {
        "label_smoothing": 0.0,
        "threshold": 0.0,
        "recall_bias": 1.5,
        "incorrect_spans_key": None,
    }
    assert config.label2id == {"O": 0, "B-PER": 1, "I-PER": 2}
    assert model.network.spec.n_tags == 5
    assert model.network.spec.hidden == [16]
    assert model.parts.component.labels == ("PER",)
    assert model.parts.nlp.lang == "de"
    assert np.isfinite(model.network.linear.weight.detach().numpy()).all()


def test_a_config_without_labels_is_refused():
    assert BiGRUConfig().component == "ner"
    with pytest.raises(ValueError, match="id2label must contain"):
        BiGRUForTokenClassification(BiGRUConfig())


def test_trainer_learns_the_sentences(tmp_path):
    torch.manual_seed(0)
    nlp = build("bigru_ner", model=NARROW)
    config = BiGRUConfig(
        {"nlp": {"lang": "en"}, "components": {"ner": {"factory": "bigru_ner", "model": NARROW}}},
        id2label=dict(enumerate(["O", "B-LOC", "I-LOC", "B-ORG", "I-ORG", "B-PER", "I-PER"])),
    )
    model = BiGRUForTokenClassification(config)
    rows, collate = gold_labels(nlp, model, "bigru_ner")

    def compute_metrics(evaluated):
        kept = evaluated.label_ids != -100
        right = (evaluated.predictions.argmax(2) == evaluated.label_ids)[kept]
        return {"accuracy": right.mean()}

    trainer = Trainer(
        model,
        TrainingArguments(
            str(tmp_path),
            max_steps=60,
            per_device_train_batch_size=4,
            learning_rate=0.01,
            save_strategy="steps",
            save_steps=30,
            eval_strategy="steps",
            eval_steps=30,
            load_best_model_at_end=True,
            metric_for_best_model="accuracy",
            dataloader_pin_memory=False,
            report_to="none",
            disable_tqdm=True,
            use_cpu=True,
        ),
        data_collator=collate,
        train_dataset=rows,
        eval_dataset=rows,
        processing_class=collate.tokenizer,
        compute_metrics=compute_metrics,
    )
    before = trainer.evaluate()
    trainer.train()
    after = trainer.evaluate()
    assert after["eval_loss"] < 0.1 < before["eval_loss"]
    assert after["eval_accuracy"] == 1.0
    tag = pipeline(
        "token-classification", model=str(tmp_path / "checkpoint-60"), aggregation_strategy="simple"
    )
    for text, ents, *_ in SENTENCES:
        doc = nlp.make_doc(text)
        expected = [(doc[a].idx, doc[b - 1].idx + len(doc[b - 1]), label) for a, b, label in ents]
        assert groups(tag(text)) == expected
