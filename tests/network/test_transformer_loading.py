import json
import shutil
from types import SimpleNamespace

import pytest
import torch
import transformers
from tiny_transformer import save, save_bert, save_roberta, word_pieces
from transformers import AutoModel, BertConfig, BertForMaskedLM, T5Config, T5Model

from bigru_tagger.network.transformer_loading import PretrainedTransformer


def load(folder, **settings):
    defaults = {"revision": None, "pooling": "mean", "layers": 1, "window": None, "overlap": 4}
    return PretrainedTransformer(str(folder), **{**defaults, **settings}).load()


@pytest.fixture
def bert(tmp_path):
    save_bert(tmp_path)
    return tmp_path


# --- what is loaded


def test_the_window_is_the_models_maximum(tmp_path):
    assert load(save_bert(tmp_path / "bert", positions=32)).spec.window == 32
    # RoBERTa's first position is 2, the one after the padding's.
    assert load(save_roberta(tmp_path / "roberta", positions=34)).spec.window == 32
    assert load(tmp_path / "bert", window=17).spec.window == 17


def test_the_tokenizers_maximum_counts_too(bert):
    settings = json.loads((bert / "tokenizer_config.json").read_text(encoding="utf-8"))
    for maximum, expected in [(20, 20), (64, 32), (10**30, 32)]:
        settings["model_max_length"] = maximum
        (bert / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
        assert load(bert).spec.window == expected


def test_every_position_of_the_window_is_there(tmp_path):
    for folder in (save_bert(tmp_path / "bert"), save_roberta(tmp_path / "roberta")):
        transformer = load(folder).eval()
        assert torch.isfinite(transformer([["a"] * 200])).all()


def test_truncation_and_padding_of_the_file_are_switched_off(bert):
    path = bert / "tokenizer.json"
    tokenizer = json.loads(path.read_text(encoding="utf-8"))
    tokenizer["truncation"] = {
        "direction": "Right",
        "max_length": 8,
        "strategy": "LongestFirst",
        "stride": 0,
    }
    tokenizer["padding"] = {
        "strategy": {"Fixed": 8},
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": 0,
        "pad_type_id": 0,
        "pad_token": "[PAD]",
    }
    expected = load(bert).eval()([["Ada"], ["a"] * 100])
    path.write_text(json.dumps(tokenizer), encoding="utf-8")
    transformer = load(bert).eval()
    assert len(transformer.split_words(["a"] * 100).ids) == 100
    assert torch.equal(transformer([["Ada"], ["a"] * 100]), expected)


def test_weights_in_half_precision_are_read_in_full(bert):
    AutoModel.from_pretrained(bert).half().save_pretrained(bert)
    transformer = load(bert)
    assert {value.dtype for value in transformer.parameters()} == {torch.float32}
    assert transformer([["Ada"]]).dtype == torch.float32


def test_a_model_with_a_head_and_without_a_pooler_serves(tmp_path):
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=90,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=32,
    )
    model = BertForMaskedLM(config)
    save(tmp_path, model, word_pieces())
    states = load(tmp_path).encoder.state_dict()
    for name, value in model.bert.state_dict().items():
        assert torch.equal(states[name], value)


def test_what_transformers_writes_while_loading_is_not_seen(bert, capfd):
    capfd.readouterr()
    load(bert)
    assert capfd.readouterr().err == ""


# --- errors


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pooling": "max"}, r"'pooling' must be one of \['first', 'last', 'mean'\]; got 'max'"),
        ({"layers": 0}, "'layers' must be at least 1.*got layers = 0"),
        ({"overlap": -1}, "'overlap' at least 0.*overlap = -1"),
        ({"window": 0}, "'window' positive, or null.*window = 0"),
    ],
)
def test_settings_that_fit_no_model(settings, message):
    with pytest.raises(ValueError, match=message):
        load("anything", **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layers": 5}, "layers = 5, but .* has 3 layers .* can be at most 4"),
        ({"window": 33}, "window = 33, but .* reads at most 32 sub-words at once"),
        ({"overlap": 30}, "'overlap' of 30 .* a window of 32 sub-words with 2 special tokens"),
        ({"window": 6}, "'overlap' of 4 .* a window of 6 sub-words with 2 special tokens"),
        ({"window": 2, "overlap": 0}, "a window of 2 sub-words with 2 special tokens"),
    ],
)
def test_settings_that_do_not_fit_the_model(settings, message, bert):
    with pytest.raises(ValueError, match=message):
        load(bert, **settings)


@pytest.mark.parametrize("settings", [{"layers": 4}, {"window": 7}, {"overlap": 29}])
def test_settings_that_just_fit_the_model(settings, bert):
    assert load(bert, **settings)([["a"] * 50]).shape == (50, 8)


@pytest.mark.parametrize("missing", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_folder_with_a_missing_file(missing, bert):
    (bert / missing).unlink()
    if missing == "tokenizer.json":
        for path in bert.glob("*token*"):
            path.unlink()
    with pytest.raises(
        ValueError,
        match=r"cannot load the (model|tokenizer) of .* The folder contains|there is no tokenizer",
    ):
        load(bert)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_damaged_file(name, bert):
    path = bert / name
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(
        ValueError, match=r"cannot load the (model|tokenizer) of .* The folder contains"
    ):
        load(bert)


def test_an_empty_folder(tmp_path):
    with pytest.raises(ValueError, match=r"cannot load .* The folder contains nothing\. It needs"):
        load(tmp_path)


@pytest.mark.parametrize("name", ["no-such/transformer", "no-such-transformer", "/no/such/folder"])
def test_a_name_that_cannot_be_reached(name, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(
        ValueError, match=rf"cannot load the tokenizer of '{name}'.*There is no such folder"
    ):
        load(name)


def test_name_and_revision_reach_the_hub(bert, monkeypatch):
    calls = []

    def spy(cls):
        original = cls.from_pretrained

        def from_pretrained(name, revision, **settings):
            calls.append((name, revision))
            return original(bert, **settings)

        monkeypatch.setattr(cls, "from_pretrained", from_pretrained)

    spy(transformers.AutoTokenizer)
    spy(transformers.AutoModel)
    load("you/transformer", revision="v2")
    assert calls == [("you/transformer", "v2")] * 2


def test_a_slow_tokenizer(bert):
    for path in bert.glob("*token*"):
        path.unlink()
    (bert / "tokenizer_config.json").write_text('{"tokenizer_class": "ByT5Tokenizer"}')
    with pytest.raises(ValueError, match="its tokenizer, ByT5Tokenizer, is not a fast tokenizer"):
        load(bert)


def test_weights_of_another_model(bert, tmp_path):
    other = tmp_path / "other"
    save_roberta(other)
    shutil.copy(bert / "config.json", other)
    for path in bert.glob("*token*"):
        shutil.copy(path, other)
    with pytest.raises(ValueError, match=r"the weights do not fit|cannot load the model"):
        load(other)


def test_a_tokenizer_of_another_model(bert, tmp_path):
    save_roberta(tmp_path / "other")
    for path in (tmp_path / "other").glob("*token*"):
        shutil.copy(path, bert)
    with pytest.raises(
        ValueError, match="sub-words up to number 299, but the model has vectors for 90"
    ):
        load(bert)


def test_an_encoder_with_a_decoder(tmp_path):
    config = T5Config(vocab_size=90, d_model=8, d_kv=4, d_ff=16, num_layers=1, num_heads=2)
    save(tmp_path, T5Model(config), word_pieces())
    with pytest.raises(ValueError, match=r"is an encoder with a decoder \(T5Model\)"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (SimpleNamespace(pooled=1), "a BertModel returns no hidden states for text"),
        (
            SimpleNamespace(
                hidden_states=[torch.zeros(1, 1, 8)], last_hidden_state=torch.zeros(1, 1, 8)
            ),
            r"one vector of one width per sub-word and layer.* returned \[\(1, 1, 8\)\]",
        ),
    ],
)
def test_a_model_without_states_of_sub_words(output, message, bert, monkeypatch):
    monkeypatch.setattr("transformers.BertModel.forward", lambda self, **batch: output)
    with pytest.raises(ValueError, match=message):
        load(bert)
