"""Conversion from spaCy to Hugging Face and back, without loss."""

import re

import markdown
import numpy as np
import pytest
import spacy
import torch
import yaml
from samples import CRF, NARROW, TEXTS, TINY, build, read_examples, train
from spacy.language import Language
from typer.testing import CliRunner

from bigru_tagger.cli import app
from bigru_tagger.files import atomic_folder
from bigru_tagger.huggingface.exchange import (
    choose_component,
    load_transformers,
    save_transformers,
    to_spacy,
    to_transformers,
)
from bigru_tagger.huggingface.model_card import model_card

VECTORS = {"@misc": "bigru_tagger.VectorsEmbed.v1", "fallback": True, "correction_rows": 50}
WITH_VECTORS = {**TINY, "embed": {**TINY["embed"], "vectors": VECTORS}}


def run(*arguments, fails=False):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == (1 if fails else 0), result.output
    return result.output


def network(nlp):
    (pipe,) = [pipe for _, pipe in nlp.pipeline]
    return pipe.model.shims[0].network


@pytest.fixture(scope="module")
def with_vectors():
    """A pipeline with vectors, custom tokenizer rules, a lookup table and changed settings."""
    nlp = spacy.blank("en")
    words = sorted({word for text in TEXTS for word in text.split()})[::2]
    rng = np.random.default_rng(0)
    for word in words:
        nlp.vocab.set_vector(word, rng.normal(size=4).astype("float32"))
    nlp.vocab.vectors.name = "tests"
    nlp.vocab.lookups.add_table("lexeme_norm", {"Ada": "augusta"})
    nlp.vocab.from_bytes(nlp.vocab.to_bytes())  # activates the table
    nlp.tokenizer.add_special_case("Babbage", [{"ORTH": "Bab"}, {"ORTH": "bage"}])
    nlp.add_pipe("bigru_ner", name="names", config={"model": WITH_VECTORS})
    nlp.initialize(lambda: read_examples(nlp.vocab))
    train(nlp)
    nlp.get_pipe("names").cfg.update(recall_bias=0.25, threshold=0.1, temperature=1.5)
    nlp.meta.update(name="names", version="1.2.3", license="mit", author="Ada")
    nlp.meta["performance"] = {"ents_f": 0.5, "ents_p": 0.75, "ents_r": 0.375}
    return nlp


def found(nlp):
    return [
        [(ent.start_char, ent.end_char, ent.label_, ent._.confidence) for ent in doc.ents]
        for doc in nlp.pipe([*TEXTS, " ".join(TEXTS), "", "Babbage"])
    ]


def assert_same(nlp, back):
    assert back.pipe_names == nlp.pipe_names
    assert back.config == nlp.config
    assert back.config.to_str() == nlp.config.to_str()
    assert back.meta == nlp.meta
    assert network(back).to_bytes() == network(nlp).to_bytes()
    assert back.vocab.to_bytes() == nlp.vocab.to_bytes()
    assert back.tokenizer.to_bytes(exclude=["vocab"]) == nlp.tokenizer.to_bytes(exclude=["vocab"])
    ours, theirs = (next(pipe for _, pipe in one.pipeline) for one in (nlp, back))
    assert theirs.cfg == ours.cfg
    assert theirs.labels == ours.labels
    assert theirs.model.get_dim("nO") == ours.model.get_dim("nO")


def test_a_pipeline_is_restored_exactly(with_vectors, tmp_path):
    expected = found(with_vectors)
    assert any(expected)
    save_transformers(with_vectors, "names", tmp_path / "model")
    back = load_transformers(str(tmp_path / "model"))
    assert_same(with_vectors, back)
    assert found(back) == expected
    # It can be used as any other pipeline.
    back.to_disk(tmp_path / "pipeline")
    loaded = spacy.load(tmp_path / "pipeline")
    assert_same(with_vectors, loaded)
    assert found(loaded) == expected
    assert (loaded.vocab["Ada"].norm_, loaded.vocab.vectors.name) == ("augusta", "tests")


def test_converted_models_share_no_memory(with_vectors):
    model, tokenizer = to_transformers(with_vectors, "names")
    back = to_spacy(model, tokenizer)
    before = network(with_vectors).to_bytes()
    with torch.no_grad():
        model.network.linear.weight.zero_()
        network(back).linear.bias.zero_()
    assert network(with_vectors).to_bytes() == before
    assert model.network.linear.bias.any()
    assert network(back).linear.weight.any()


@pytest.mark.parametrize("settings", [TINY, CRF, NARROW], ids=["tiny", "crf", "narrow"])
def test_all_components_are_restored(task, settings):
    nlp = build(task.factory, model=settings)
    train(nlp, steps=5)
    back = to_spacy(*to_transformers(nlp, task.factory))
    assert_same(nlp, back)
    for doc, other in zip(nlp.pipe(TEXTS), back.pipe(TEXTS), strict=True):
        assert task.read(doc) == task.read(other)


def test_training_can_be_continued(with_vectors):
    nlp = build("bigru_ner")
    back = to_spacy(*to_transformers(nlp, "bigru_ner"))
    assert train(back)["bigru_ner"] == pytest.approx(train(nlp)["bigru_ner"], rel=1e-4)
    back.get_pipe("bigru_ner").add_label("NEW")
    assert back.get_pipe("bigru_ner").model.get_dim("nO") == 17


# --- components that cannot be converted


@Language.component("exchange_test_sentences")
def mark_sentences(doc):
    return doc


def test_other_components_are_not_converted_and_named(tmp_path):
    nlp = build("bigru_ner", "bigru_tagger")
    nlp.add_pipe("exchange_test_sentences", first=True)
    nlp.to_disk(tmp_path / "pipeline")
    message = run("to-transformers", tmp_path / "pipeline", tmp_path / "model", fails=True)
    assert "several components that can be converted: choose one of" in message
    assert "bigru_ner, bigru_tagger" in message
    output = run(
        "to-transformers", tmp_path / "pipeline", tmp_path / "model", "--component", "bigru_tagger"
    )
    assert "Not converted, since the format has one component: " in output
    assert "exchange_test_sentences, bigru_ner" in output
    run("from-transformers", tmp_path / "model", tmp_path / "back")
    back = spacy.load(tmp_path / "back")
    assert back.pipe_names == ["bigru_tagger"]
    for text in TEXTS:
        assert [token.tag_ for token in back(text)] == [token.tag_ for token in nlp(text)]


def test_a_component_with_a_tok2vec_is_refused():
    nlp = spacy.blank("en")
    nlp.add_pipe("tok2vec")
    listener = {
        "@misc": "bigru_tagger.Tok2VecEmbed.v1",
        "tok2vec": {"@architectures": "spacy.Tok2VecListener.v1", "width": 96, "upstream": "*"},
    }
    nlp.add_pipe("bigru_ner", config={"model": {**TINY, "embed": {"shared": listener}}})
    with pytest.raises(ValueError, match=r"uses a spaCy tok2vec.*nlp\.replace_listeners"):
        to_transformers(nlp, "bigru_ner")


def test_only_our_components_convert():
    nlp = spacy.blank("en")
    nlp.add_pipe("sentencizer")
    with pytest.raises(ValueError, match="a Sentencizer: only bigru_ner"):
        to_transformers(nlp, "sentencizer")
    with pytest.raises(ValueError, match="no component 'ner': choose one of"):
        to_transformers(nlp, "ner")
    with pytest.raises(ValueError, match="has no bigru_ner, bigru_tagger or bigru_chunker"):
        choose_component(nlp)
    nlp.add_pipe("bigru_ner")
    assert choose_component(nlp) == "bigru_ner"
    with pytest.raises(ValueError, match="no parameters yet"):
        to_transformers(nlp, "bigru_ner")


# --- commands


def test_nothing_is_overwritten(with_vectors, tmp_path):
    with_vectors.to_disk(tmp_path / "pipeline")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine").write_text("mine", encoding="utf8")
    message = run("to-transformers", tmp_path / "pipeline", tmp_path / "model", fails=True)
    assert "already exists" in message
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["mine"]
    assert "Error: " in run("to-transformers", tmp_path / "nope", tmp_path / "new", fails=True)
    assert "Error: " in run("from-transformers", tmp_path / "pipeline", tmp_path / "x", fails=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "pipeline"]


def test_a_folder_is_written_atomically(tmp_path):
    (tmp_path / "empty").mkdir()
    for name in ("new", "empty"):
        with atomic_folder(tmp_path / name) as place:
            (place / "file").write_text("text", encoding="utf8")
            assert not (tmp_path / name / "file").exists()
        assert (tmp_path / name / "file").read_text(encoding="utf8") == "text"

    def interrupted():
        with atomic_folder(tmp_path / "other") as place:
            (place / "file").write_text("text", encoding="utf8")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "new"]


# --- the card


def test_the_card_has_labels_data_scores_and_use(with_vectors, tmp_path):
    save_transformers(with_vectors, "names", tmp_path / "model")
    card = (tmp_path / "model" / "README.md").read_text(encoding="utf8")
    head = card.split("---\n")[1].splitlines()
    assert {
        "language: en",
        "license: mit",
        "library_name: transformers",
        "pipeline_tag: token-classification",
    } < set(head)
    assert "- type: f1\n      value: 0.5\n" in card
    assert "`LOC`, `ORG`, `PER`" in card
    assert "Trained on unknown data." in card
    assert "f1 50.00, precision 75.00, recall 37.50." in card
    assert 'pipeline("token-classification"' in card
    assert "spacy.load" in card


@pytest.mark.parametrize(
    ("corpus", "named"),
    [
        ({"path": "conll2003"}, "`conll2003`"),
        ({"path": "/home/me/data/secret"}, "`secret`"),
        ({"path": "./data/mine"}, "`mine`"),
        ({"path": "bigru_tagger/sample"}, "`bigru_tagger/sample`"),
        ({"path": "me/corpus"}, "`me/corpus`"),
        ({"path": None}, "unknown data"),
        ({"corpora": {"a": {"path": "wnut_17"}, "b": {"path": "/home/me/x"}}}, "`wnut_17, x`"),
    ],
)
def test_the_card_names_the_data_but_no_folder_of_its_author(corpus, named):
    config = {
        "nlp": {"lang": "xx"},
        "components": {"chunks": {"factory": "bigru_chunker", "spans_key": "sc"}},
        "corpora": {"train": corpus},
        "initialize": {"vectors": "/home/me/vectors/en_core_web_md"},
    }
    per_type = {"NP": {"p": 1.0, "r": 0.5, "f": 2 / 3}}
    performance = {"spans_sc_f": 0.75, "spans_sc_per_type": per_type}
    card = model_card(config, {"performance": performance}, ["NP"])
    assert f"Trained on {named}, with the word vectors of `en_core_web_md`." in card
    assert "/home/me" not in card
    assert "On the development data: f1 75.00." in card
    assert "| NP | 100.00 | 50.00 | 66.67 |" in card
    assert "language:" not in card
    assert "No scores are stored in the pipeline." in model_card(config, {}, ["NP"])


def test_names_and_texts_of_the_pipeline_have_no_effect_as_markup():
    config = {
        "nlp": {"lang": "en"},
        "components": {"n`er\n# x": {"factory": "bigru_ner"}},
        "corpora": {"train": {"path": "a`b](https://x.org)\n---\nlicense: other"}},
        "initialize": {"vectors": "v`<script>"},
    }
    meta = {
        "lang": "en\nlicense: other",
        "name": "<img src=x>\n---",
        "description": "<script>alert(1)</script>\n---\n# Heading",
        "license": "mit\ntags: [other]",
        "performance": {"ents_f": 0.5, "ents_per_type": {"A|B\n<b>": {"p": 1, "r": 1, "f": 1}}},
    }
    card = model_card(config, meta, ["A`B", "<script>", "x\n\n# heading"])
    _, head, body = card.split("---\n", 2)
    metadata = yaml.safe_load(head)
    assert (metadata["license"], metadata["language"]) == (
        "mit tags: [other]",
        "en license: other",
    )
    assert metadata["tags"] == ["bigru-tagger", "spacy", "token-classification"]
    # This renderer shows the backslash before "<", which others do not.
    rendered = markdown.markdown(body, extensions=["tables", "fenced_code"]).replace("\\", "")
    assert re.findall(r"<h\d>(.*?)</h\d>", rendered) == [
        "en license: other_&lt;img src=x&gt; ---",
        *("Labels", "Data", "Scores", "Use"),
    ]
    assert "<code>A`B</code>, <code>&lt;script&gt;</code>, <code>x # heading</code>" in rendered
    assert "<td>A|B &lt;b&gt;</td>" in rendered
    for markup in ("<script", "<img", "<b>", '<a href="https://x', "<hr"):
        assert markup not in rendered
