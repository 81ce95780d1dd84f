"""Nested and overlapping spans: a short training with each of the two configs, on made-up data."""

import random
from pathlib import Path

import pytest
import spacy
from samples import ROOT
from spacy.cli.train import train
from spacy.tokens import Doc, DocBin, Span
from spacy.training import Corpus

CITIES = ["Oslo", "Rome", "Bern", "Lima", "Bonn", "Kyiv", "Riga", "Sofia", "Quito", "Dakar"]
# Words with a city for each _, outer spans, and inner spans besides the cities.
PATTERNS = [
    ("The University of _ opened", [(1, 4, "ORG")], []),
    ("The Bank of _ hired Ada Fox", [(1, 4, "ORG"), (5, 7, "PER")], []),
    ("Floods reached _ in May", [], []),
    ("Mayor of _ Ada Fox left _", [(0, 5, "PER")], [(0, 3, "TITLE"), (3, 5, "NAME")]),
]
SHORT = {
    "training.max_steps": 60,
    "training.eval_frequency": 30,
    "training.dropout": 0.1,
    "training.optimizer.learn_rate.total_steps": 60,
    "training.optimizer.learn_rate.warmup_steps": 5,
    "training.optimizer.learn_rate.initial_rate": 0.01,
    "components.tok2vec.model.hidden": 24,
}


def make_docs(vocab, n, seed):
    generator = random.Random(seed)
    docs = []
    for _ in range(n):
        text, outer, inner = generator.choice(PATTERNS)
        words = [generator.choice(CITIES) if word == "_" else word for word in text.split()]
        doc = Doc(vocab, words=words)
        inner = [*inner, *((i, i + 1, "CITY") for i, word in enumerate(words) if word in CITIES)]
        # In the last pattern, the title contains the city: a third layer.
        layers = {"outer": outer, "inner": [span for span in inner if span[2] != "TITLE"]}
        layers["sc"] = [*outer, *inner]
        for key, spans in layers.items():
            doc.spans[key] = [Span(doc, *span) for span in spans]
        docs.append(doc)
    return docs


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    vocab = spacy.blank("en").vocab
    for name, n, seed in (("train", 80, 0), ("dev", 40, 1)):
        DocBin(docs=make_docs(vocab, n, seed)).to_disk(folder / f"{name}.spacy")
    return folder


def run_training(config: str, corpus: Path, output: Path, **widths: int) -> spacy.Language:
    overrides = {**SHORT, "paths.data": str(corpus), **widths}
    train(ROOT / "configs" / f"{config}.cfg", output, overrides=overrides)
    return spacy.load(output / "model-best")


def read_spans(doc, key):
    return {(span.start, span.end, span.label_) for span in doc.spans[key]}


def test_two_layers_on_one_encoder(corpus, tmp_path):
    widths = {
        f"components.{layer}.model.{name}": width
        for layer in ("outer", "inner")
        for name, width in (("hidden", 24), ("embed.shared.tok2vec.width", 48))
    }
    nlp = run_training("nested", corpus, tmp_path, **widths)
    scores = nlp.evaluate(list(Corpus(corpus / "dev.spacy")(nlp)))
    assert scores["spans_outer_f"] == 1.0
    assert scores["spans_inner_f"] == 1.0
    doc = nlp("The University of Lima opened")
    assert read_spans(doc, "outer") == {(1, 4, "ORG")}
    assert read_spans(doc, "inner") == {(3, 4, "CITY")}
    assert all(0.0 < score <= 1.0 for score in doc.spans["outer"].attrs["scores"])
    assert [pipe.model.shims[0].network.spec.hidden for _, pipe in nlp.pipeline[1:]] == [[], []]


@pytest.mark.slow
def test_spancat_over_our_encoder(corpus, tmp_path):
    widths = {
        "components.spancat.model.tok2vec.width": 48,
        "training.max_steps": 120,
        "training.optimizer.learn_rate.total_steps": 120,
    }
    nlp = run_training("spancat", corpus, tmp_path, **widths)
    scores = nlp.evaluate(list(Corpus(corpus / "dev.spacy")(nlp)))
    assert scores["spans_sc_f"] > 0.95
    doc = nlp("Mayor of Riga Ada Fox left Bonn")
    expected = [(0, 5, "PER"), (0, 3, "TITLE"), (3, 5, "NAME"), (2, 3, "CITY"), (6, 7, "CITY")]
    assert read_spans(doc, "sc") == set(expected)
