"""Sample sentences, and small pipelines that are trained on them, for the tests of components."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import spacy
from spacy.tokens import Doc, Span
from spacy.training import Example
from thinc.api import Adam, fix_random_seed

ROOT = Path(__file__).parent.parent

# Text, entities and chunks as (first token, token after the last, label), and tags.
SENTENCES = [
    (
        "Ada Lovelace wrote to Babbage from London .",
        [(0, 2, "PER"), (4, 5, "PER"), (6, 7, "LOC")],
        [(0, 2, "NP"), (2, 3, "VP"), (3, 4, "PP"), (4, 5, "NP"), (5, 6, "PP"), (6, 7, "NP")],
        "NNP NNP VBD TO NNP IN NNP .",
    ),
    (
        "Ships leave New York City daily .",
        [(2, 5, "LOC")],
        [(0, 1, "NP"), (1, 2, "VP"), (2, 5, "NP"), (5, 6, "ADVP")],
        "NNS VBP NNP NNP NNP RB .",
    ),
    (
        "Nothing happened yesterday .",
        [],
        [(0, 1, "NP"), (1, 2, "VP"), (2, 3, "NP")],
        "NN VBD NN .",
    ),
    (
        "Bob met Eve near Royal Museum of Oslo",
        [(0, 1, "PER"), (2, 3, "PER"), (4, 8, "ORG")],
        [(0, 1, "NP"), (1, 2, "VP"), (2, 3, "NP"), (3, 4, "PP"), (4, 8, "NP")],
        "NNP VBD NNP IN NNP NNP IN NNP",
    ),
]
TEXTS = [words for words, *_ in SENTENCES]


@dataclass(frozen=True)
class Task:
    """A component, its labels in `SENTENCES`, and a function that reads its annotation."""

    factory: str
    labels: list[str]
    read: Callable[[Doc], list]


def _triples(spans):
    return [(span.start, span.end, span.label_) for span in spans]


TASKS = [
    Task("bigru_ner", ["LOC", "ORG", "PER"], lambda doc: _triples(doc.ents)),
    Task(
        "bigru_tagger",
        [".", "IN", "NN", "NNP", "NNS", "RB", "TO", "VBD", "VBP"],
        lambda doc: [token.tag_ for token in doc],
    ),
    Task(
        "bigru_chunker",
        ["ADVP", "NP", "PP", "VP"],
        lambda doc: _triples(doc.spans.get("chunks", [])),
    ),
]

# The default model with a smaller width, and the smallest model. Both have no word dropout.
NARROW = {"hidden": 16, "word_dropout": 0.0}
WORDS = {
    "@misc": "bigru_tagger.HashEmbed.v1",
    "attrs": ["NORM", "SHAPE"],
    "rows": [200, 100],
    "width": 16,
    "unknown_rate": 0.0,
    "fold_digits": False,
}
TINY = {**NARROW, "embed": {"words": WORDS}}
CRF = {**TINY, "decode": "crf"}


def annotate(doc, ents=(), chunks=None, tags=None, **set_ents):
    """Set gold annotation on a Doc. Arguments of `doc.set_ents` are lists of token indices."""
    spans = [Span(doc, start, end, label=label) for start, end, label in ents]
    extra = {name: [doc[i : i + 1] for i in tokens] for name, tokens in set_ents.items()}
    doc.set_ents(spans, default="outside", **extra)
    if chunks is not None:
        doc.spans["chunks"] = [Span(doc, start, end, label=label) for start, end, label in chunks]
    for token, tag in zip(doc, tags or [], strict=False):
        token.tag_ = tag
    return doc


def read_examples(vocab):
    docs = [
        annotate(Doc(vocab, words=text.split()), ents, chunks, tags.split())
        for text, ents, chunks, tags in SENTENCES
    ]
    return [Example(Doc(vocab, words=[t.text for t in doc]), doc) for doc in docs]


def build(*factories, model=TINY, seed=0, **config):
    """Create a pipeline and initialize it on `SENTENCES`, with no recall bias unless it is set."""
    fix_random_seed(seed)
    nlp = spacy.blank("en")
    for factory in factories:
        bias = {} if factory == "bigru_tagger" else {"recall_bias": 0.0}
        nlp.add_pipe(factory, config={"model": model, **bias, **config})
    nlp.initialize(lambda: read_examples(nlp.vocab))
    return nlp


def train(nlp, steps=40, examples=None, **kwargs):
    """Train on `SENTENCES` or other examples, and return the losses of the last step."""
    optimizer = kwargs.pop("sgd", None) or Adam(0.01, L2=0.0, use_averages=False)
    losses = {}
    for _ in range(steps):
        batch = read_examples(nlp.vocab) if examples is None else examples
        losses = nlp.update(batch, sgd=optimizer, drop=0.0, **kwargs)
    return losses


def set_logits(monkeypatch, pipe, logits):
    """Replace a component's network by fixed logits for every Doc, (n_tokens, n_tags)."""

    def predict(docs):
        yield list(docs), np.concatenate([logits.copy() for _ in docs])

    monkeypatch.setattr(pipe, "_predict_logits", predict)


def parameters(pipe):
    """Copy the network's parameters, by name."""
    network = pipe.model.shims[0].network
    return {name: value.detach().clone() for name, value in network.named_parameters()}
