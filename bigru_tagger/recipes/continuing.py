"""Continue the training of a pipeline with new labels or new data, without forgetting the old."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from spacy.language import Language
from spacy.pipeline.tok2vec import Tok2VecListener
from spacy.tokens import DocBin, Span
from thinc.api import Config

from ..corpus.corpus import SPACY_ENDING
from ..corpus.fingerprint import fingerprint
from ..corpus.sentences import copy_tokens
from ..distill.outputs import Row, read_row, store_outputs, student_config
from ..distill.teachers import RenamedTeacher, SoftTeacher
from ..files import atomic_folder
from ..pipeline.component import SequenceTagger
from ..schemes import OUTSIDE
from ..scoring.loading import load_pipeline
from ..tasks import ENTITIES
from .data import DEV, TRAIN, TrainingData, write_docs

LEARN_RATE = 0.002  # two thirds of that of a new network
_MARGIN = 4.0  # of the tags of new labels, which training starts at once
_TOP_K = 8


@dataclass(frozen=True)
class Continuation:
    """A training that starts with a trained pipeline.

    nlp (Language): the pipeline, with the new labels.
    name (str): the component to train. The others are not changed.
    start (Path): the folder of the pipeline.
    outputs (Path | None): the folder of the old pipeline's outputs for the training data; None if
        the data annotate all of its labels.
    data (TrainingData): the new data. In its development data, entities with an old label that the
        data do not annotate are those of the old pipeline.
    """

    nlp: Language
    name: str
    start: Path
    outputs: Path | None
    data: TrainingData

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
        return student_config(config, self.outputs, temperature=1.0, weight=0.0)


def continue_from(model: str, data: TrainingData, output: Path) -> Continuation:
    """Store the start of a training that continues another.

    The old pipeline teaches the labels that the new data do not annotate (Li and Hoiem 2016,
    "Learning without Forgetting", arXiv 1606.09282). A token outside the new entities has no gold
    tag then, since it may be part of an entity that is not annotated. It learns the old pipeline's
    distribution, in which the tags of the labels in the new data count as O.

    model (str): the old pipeline.
    data (TrainingData): the new data. All labels in the training data count as annotated.
    output (Path): the output folder.
    RETURNS (Continuation): the start.
    RAISES (ValueError): the pipeline cannot be loaded, has no component for the task, or the
        component shares an encoder.
    """
    nlp = load_pipeline(model)
    name, component = _find_component(nlp, data.task.factory)
    annotated = set(data.labels)
    outputs = None
    if data.task == ENTITIES and not annotated.issuperset(component.labels):
        outputs = output / "teacher"
        teacher = RenamedTeacher(SoftTeacher(nlp, name), dict.fromkeys(annotated, ""), annotated)
        store_outputs(
            outputs,
            lambda: teacher,
            lambda: _rows(nlp, data.files[TRAIN]),
            settings={"teacher": fingerprint(model), "annotated": sorted(annotated)},
            top_k=_TOP_K,
        )
        data = _add_old_entities(nlp, data, annotated)
    for label in data.labels:
        component.add_label(label, margin=_MARGIN)
    start = output / "start"
    shutil.rmtree(start, ignore_errors=True)
    with atomic_folder(start) as temporary:
        nlp.to_disk(temporary)
    return Continuation(nlp, name, start, outputs, data)


def _find_component(nlp: Language, factory: str) -> tuple[str, SequenceTagger]:
    names = [name for name in nlp.pipe_names if nlp.get_pipe_meta(name).factory == factory]
    if not names:
        has = ", ".join(nlp.pipe_names) or "no components"
        raise ValueError(f"the pipeline has no {factory} to continue with: it has {has}")
    component = nlp.get_pipe(names[0])
    assert isinstance(component, SequenceTagger)
    if any(isinstance(layer, Tok2VecListener) for layer in component.model.walk()):
        raise ValueError(
            f"{names[0]} listens to a shared encoder: call nlp.replace_listeners to give it one of "
            "its own, and save the pipeline"
        )
    return names[0], component


def _rows(nlp: Language, file: Path) -> Iterator[Row]:
    for doc in DocBin().from_disk(file).get_docs(nlp.vocab):
        row = read_row(doc)
        tags = row["ner_tags"] or [OUTSIDE] * len(row["tokens"])
        row["ner_tags"] = ["" if tag == OUTSIDE else tag for tag in tags]
        yield row


def _add_old_entities(nlp: Language, data: TrainingData, annotated: set[str]) -> TrainingData:
    docs = list(DocBin().from_disk(data.files[DEV]).get_docs(nlp.vocab))
    predicted = nlp.pipe(copy_tokens(nlp.vocab, doc, doc) for doc in docs)
    for doc, old in zip(docs, predicted, strict=True):
        taken = {token.i for ent in doc.ents for token in ent}
        added = [
            Span(doc, ent.start, ent.end, ent.label_)
            for ent in old.ents
            if ent.label_ not in annotated and taken.isdisjoint(range(ent.start, ent.end))
        ]
        doc.set_ents([*doc.ents, *added])
    file = data.files[DEV].with_name(f"{DEV}-with-old{SPACY_ENDING}")
    return replace(data, files={**data.files, DEV: write_docs(docs, file)})
