"""Continue the training of a pipeline with new labels or new data, without forgetting the old."""

import shutil
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from spacy.language import Language
from spacy.pipeline.tok2vec import Tok2VecListener
from spacy.tokens import DocBin, Span
from spacy.training import Example
from thinc.api import Config

from ..corpus.corpus import SPACY_ENDING, open_corpus
from ..corpus.sentences import copy_tokens
from ..distill.outputs import Row, read_row, store_outputs, student_config
from ..distill.teachers import RenamedTeacher, SoftTeacher
from ..errors import ModelError
from ..files import atomic_folder
from ..model.thinc_model import network_shim
from ..pipeline.component import SequenceTagger
from ..pipeline.spans import SpanTagger
from ..runtime.network import blend
from ..schemes import OUTSIDE
from ..tasks import ENTITIES
from .data import DEV, TRAIN, TrainingData, write_docs

LEARN_RATE = 0.002  # two thirds of that of a new network
SHARES = (0.25, 0.5, 0.75, 1.0)
"""Of the way from the old network to the new one, see `step_back`."""

_TOLERANCE = 0.02  # of the score on the development data, for a step back
_MARGIN = 4.0  # of the tags of new labels, which training starts at once
_TOP_K = 8


class OldEntities(NamedTuple):
    """The old pipeline's entities in the development data.

    file (Path): the data with these entities, as a `.spacy` file.
    labels (list[str]): their labels.
    """

    file: Path
    labels: list[str]


@dataclass(frozen=True)
class Continuation:
    """A training that starts with a trained pipeline.

    nlp (Language): the pipeline, with the new labels.
    name (str): the component to train. The others are not changed.
    start (Path): the folder of the pipeline.
    n_tags (int): number of tags of the component before labels were added.
    annotated (list[str]): the labels that the new data annotate.
    outputs (Path | None): the folder of the old pipeline's outputs for the training data; None if
        there are no other labels.
    old (OldEntities | None): the old pipeline's entities of the other labels in the development
        data; None if there are no other labels.
    """

    nlp: Language
    name: str
    start: Path
    n_tags: int
    annotated: list[str]
    outputs: Path | None = None
    old: OldEntities | None = None

    def change(self, config: Config) -> Config:
        """Change the config of a recipe.

        config (Config): the config, modified in place.
        RETURNS (Config): the config that continues the training.
        """
        pipes = list(self.nlp.pipe_names)  # spaCy does not let it be copied
        config["nlp"]["pipeline"] = pipes
        config["components"] = {
            pipe: {"source": str(self.start), "component": pipe} for pipe in pipes
        }
        config["paths"]["vectors"] = None
        config["initialize"]["before_init"] = {
            "@callbacks": "spacy.copy_from_base_model.v1",
            "tokenizer": str(self.start),
            "vocab": str(self.start),
        }
        training = config["training"]
        training["frozen_components"] = [pipe for pipe in pipes if pipe != self.name]
        training["optimizer"]["learn_rate"]["initial_rate"] = LEARN_RATE
        if self.outputs is None:
            return config
        # Then only the labels that the data annotate decide which step is the best.
        config["corpora"][DEV]["annotated_labels"] = self.annotated
        return student_config(config, self.outputs, temperature=1.0, weight=0.0)


def continue_from(nlp: Language, data: TrainingData, output: Path, *, teacher: str) -> Continuation:
    """Store the start of a training that continues another.

    The old pipeline teaches the labels that the new data do not annotate (Li and Hoiem 2016,
    "Learning without Forgetting", arXiv 1606.09282). A token outside the new entities has no gold
    tag then, since it may be part of an entity that is not annotated. It learns the old pipeline's
    distribution, in which the tags of the labels in the new data count as O.

    nlp (Language): the old pipeline, which is modified.
    data (TrainingData): the new data. All labels in the training data count as annotated.
    output (Path): the output folder.
    teacher (str): the fingerprint of the old pipeline.
    RETURNS (Continuation): the start.
    RAISES (ValueError): the pipeline has no component for the task, or the component shares an
        encoder.
    """
    name, component = _find_component(nlp, data.task.factory)
    annotated = data.labels
    kept = [label for label in component.labels if label not in annotated]
    outputs = old = None
    if data.task == ENTITIES and kept:
        outputs = output / "teacher"
        soft = RenamedTeacher(SoftTeacher(nlp, name), dict.fromkeys(annotated, ""), annotated)
        assert isinstance(component, SpanTagger)
        # The new component keeps these settings, so its logits must not include them as well.
        with component.changed_settings(recall_bias=0.0, temperature=1.0):
            store_outputs(
                outputs,
                lambda: soft,
                lambda: _rows(nlp, data.files[TRAIN]),
                settings={"teacher": teacher, "annotated": sorted(annotated)},
                top_k=_TOP_K,
            )
        old = _store_old_entities(nlp, data, kept)
    n_tags = network_shim(component.model).spec.n_tags
    assert n_tags is not None  # a trained component has tags
    for label in annotated:
        component.add_label(label, margin=_MARGIN)
    if isinstance(component, SpanTagger):
        component.count_spans(lambda: open_corpus(str(data.files[TRAIN]))(nlp), add=True)
    start = output / "start"
    shutil.rmtree(start, ignore_errors=True)
    with atomic_folder(start) as temporary:
        nlp.to_disk(temporary)
    return Continuation(nlp, name, start, n_tags, annotated, outputs, old)


def step_back(
    nlp: Language, continued: Continuation, dev: Callable[[Language], Iterable[Example]]
) -> float:
    """Replace the weights of a continued training by others on the way from the old to the new.

    Such weights keep more of what the old pipeline knows about texts unlike the new ones, at almost
    no cost on the new ones (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models", arXiv
    2109.01903). Of `SHARES`, the smallest is used whose score on the development data is at most
    0.02 below the best.

    nlp (Language): the trained pipeline, modified in place.
    continued (Continuation): the start of the training.
    dev (Callable[[Language], Iterable[Example]]): reads the development data.
    RETURNS (float): the share of the way.
    """
    old, shim = (
        network_shim(pipeline.get_pipe(continued.name).model)  # type: ignore[attr-defined]
        for pipeline in (continued.nlp, nlp)
    )
    start, end = old.arrays, shim.arrays
    weights = nlp.config["training"]["score_weights"]

    def score(share: float) -> float:
        shim.set_arrays(blend(start, end, share, continued.n_tags))
        with nlp.select_pipes(enable=continued.name):
            scores = nlp.evaluate(list(dev(nlp)))
        # Other components of the pipeline have weights, too, but no scores here.
        names = [
            name for name, weight in weights.items() if weight and scores.get(name) is not None
        ]
        return float(
            np.average([scores[name] for name in names], weights=[weights[n] for n in names])
        )

    found = {share: score(share) for share in SHARES}
    chosen = next(share for share in SHARES if found[share] >= max(found.values()) - _TOLERANCE)
    shim.set_arrays(blend(start, end, chosen, continued.n_tags))
    return chosen


def _find_component(nlp: Language, factory: str) -> tuple[str, SequenceTagger]:
    names = [name for name in nlp.pipe_names if nlp.get_pipe_meta(name).factory == factory]
    if not names:
        has = ", ".join(nlp.pipe_names) or "no components"
        raise ModelError(f"the pipeline has no {factory} to continue with: it has {has}")
    component = nlp.get_pipe(names[0])
    assert isinstance(component, SequenceTagger)
    if any(isinstance(layer, Tok2VecListener) for layer in component.model.walk()):
        raise ModelError(
            f"{names[0]} listens to a shared encoder: give it one of its own by "
            f'nlp.replace_listeners("tok2vec", "{names[0]}", ["model.embed.NAME.tok2vec"]), where '
            "NAME is that of the embedding in the config, and save the pipeline"
        )
    return names[0], component


def _rows(nlp: Language, file: Path) -> Iterator[Row]:
    for doc in DocBin().from_disk(file).get_docs(nlp.vocab):
        row = read_row(doc)
        tags = row["ner_tags"] or [OUTSIDE] * len(row["tokens"])
        row["ner_tags"] = ["" if tag == OUTSIDE else tag for tag in tags]
        yield row


def _store_old_entities(nlp: Language, data: TrainingData, kept: Collection[str]) -> OldEntities:
    """Store the old pipeline's entities in the development data, outside the new entities."""
    found: set[str] = set()
    docs = list(DocBin().from_disk(data.files[DEV]).get_docs(nlp.vocab))
    predicted = nlp.pipe(copy_tokens(nlp.vocab, doc, doc) for doc in docs)
    for doc, old in zip(docs, predicted, strict=True):
        taken = {token.i for ent in doc.ents for token in ent}
        entities = [
            Span(doc, ent.start, ent.end, ent.label_)
            for ent in old.ents
            if ent.label_ in kept and taken.isdisjoint(range(ent.start, ent.end))
        ]
        doc.set_ents(entities)
        found.update(ent.label_ for ent in entities)
    file = write_docs(docs, data.files[DEV].with_name(f"{DEV}-old{SPACY_ENDING}"))
    return OldEntities(file, sorted(found))
