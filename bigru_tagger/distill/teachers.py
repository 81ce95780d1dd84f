"""Teachers: systems that predict entities, as a distribution over BILUO tags for each token."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from spacy.language import Language
from spacy.tokens import Doc
from spacy.util import get_package_path, is_package, load_config

from ..corpus.sentences import copy_tokens
from ..pipeline.ner import biluo
from ..pipeline.soft_targets import Teacher, TeacherError
from ..schemes import biluo_tags, label_of
from ..scoring.loading import setters_of
from .huggingface_teacher import HuggingFaceTeacher

logger = logging.getLogger(__name__)


class ProbabilityTagger(Protocol):
    """A component that computes the probabilities of the tags of entities.

    Those of `bigru_ner` are tag marginals over all valid tag sequences, computed by the
    forward-backward algorithm. The softmax of its logits would ignore transitions. A component of
    another package can have these two as well.
    """

    @property
    def labels(self) -> tuple[str, ...]:
        """RETURNS (tuple[str, ...]): the entity labels."""

    def tag_probabilities(self, docs: Sequence[Doc]) -> list[np.ndarray]:
        """Compute the probabilities of tags.

        docs (Sequence[Doc]): the Docs, which the components before this one have processed.
        RETURNS (list[ndarray]): the probabilities of `biluo_tags(labels)` for each Doc, (n_tokens,
            n_tags).
        """


class SoftTeacher:
    """A pipeline with a component that computes the probabilities of tags."""

    def __init__(self, nlp: Language, component: str) -> None:
        """Initialize the teacher.

        nlp (Language): the pipeline.
        component (str): the name of the component, a `ProbabilityTagger`.
        """
        self._nlp = nlp
        self._tagger: ProbabilityTagger = nlp.get_pipe(component)  # type: ignore[assignment]
        # Components before it may be needed, such as a shared encoder or a sentence splitter.
        self._disable = nlp.pipe_names[nlp.pipe_names.index(component) :]
        self.labels = tuple(self._tagger.labels)

    @property
    def threshold(self) -> float:
        """RETURNS (float): the threshold of the component, 0 if it has none."""
        return float(getattr(self._tagger, "cfg", {}).get("threshold", 0.0))

    def __call__(self, docs: Sequence[Doc]) -> list[np.ndarray]:
        """See `Teacher`."""
        # Without the memory zone, the vocabulary would grow with every text.
        with self._nlp.memory_zone():
            copies = [copy_tokens(self._nlp.vocab, doc, doc) for doc in docs]
            prepared = list(self._nlp.pipe(copies, disable=self._disable))
            return [rows.astype(np.float32) for rows in self._tagger.tag_probabilities(prepared)]


class HardTeacher:
    """Any pipeline that sets `doc.ents`: its predictions, with a probability of 1."""

    def __init__(self, nlp: Language) -> None:
        """Initialize the teacher.

        nlp (Language): the pipeline.
        RAISES (TeacherError): if no component sets entities and declares their labels.
        """
        self._nlp = nlp
        setters = setters_of(nlp, "doc.ents")
        self.labels = tuple(
            sorted({str(label) for name in setters for label in nlp.pipe_labels.get(name, [])})
        )
        if not self.labels:
            raise TeacherError(
                f"the pipeline {nlp.meta['lang']}_{nlp.meta['name']} has no component that sets "
                "doc.ents and declares its labels. Its components are: "
                f"{', '.join(nlp.pipe_names) or 'none'}"
            )

    def __call__(self, docs: Sequence[Doc]) -> list[np.ndarray]:
        """See `Teacher`.

        RAISES (TeacherError): if an entity has a label that no component declares.
        """
        with self._nlp.memory_zone():
            copies = [copy_tokens(self._nlp.vocab, doc, doc) for doc in docs]
            return self._one_hot(self._nlp.pipe(copies))

    def _one_hot(self, docs: Iterable[Doc]) -> list[np.ndarray]:
        column = {tag: index for index, tag in enumerate(biluo_tags(self.labels))}
        distributions = []
        for doc in docs:
            rows = np.zeros((len(doc), len(column)), dtype=np.float32)
            for token, tag in enumerate(biluo(doc)):
                if tag is not None and tag not in column:
                    raise TeacherError(
                        f"the teacher set an entity with the label {label_of(tag)!r}, which none "
                        f"of its components declares. They declare: {', '.join(self.labels)}"
                    )
                if tag is not None:
                    rows[token, column[tag]] = 1.0
            distributions.append(rows)
        return distributions


class RenamedTeacher:
    """A teacher with renamed labels."""

    def __init__(
        self, teacher: Teacher, names: Mapping[str, str], also: Iterable[str] = ()
    ) -> None:
        """Initialize the teacher.

        teacher (Teacher): the teacher.
        names (Mapping[str, str]): new names by label. Labels with the same new name are merged.
            The new name "" replaces a label by O.
        also (Iterable[str]): labels to add, whose tags have the probability 0.
        RAISES (TeacherError): if no label is left.
        """
        self._teacher = teacher
        new = {label: names.get(label, label) for label in teacher.labels}
        self.labels = tuple(sorted({name for name in (*new.values(), *also) if name}))
        if not self.labels:
            raise TeacherError("all labels of the teacher are renamed to O: keep at least one")
        column = {tag: index for index, tag in enumerate(biluo_tags(self.labels))}
        self._columns = [column.get(tag, 0) for tag in biluo_tags(new.values())]

    def __call__(self, docs: Sequence[Doc]) -> list[np.ndarray]:
        """See `Teacher`."""
        distributions = []
        for rows in self._teacher(docs):
            renamed = np.zeros((len(rows), len(biluo_tags(self.labels))), np.float32)
            np.add.at(renamed.T, self._columns, rows.T)
            distributions.append(renamed)
        return distributions


class Ensemble:
    """The mean of the distributions of several teachers.

    For each token, teachers without a prediction are left out of the mean.
    """

    def __init__(self, teachers: Sequence[Teacher]) -> None:
        """Initialize the ensemble.

        teachers (Sequence[Teacher]): the teachers, at least one.
        RAISES (TeacherError): if the teachers have different labels.
        """
        self._teachers = teachers
        self.labels = teachers[0].labels
        for number, teacher in enumerate(teachers[1:], start=2):
            if set(teacher.labels) != set(self.labels):
                raise TeacherError(
                    "all teachers of an ensemble must have the same labels: teacher 1 has "
                    f"{', '.join(self.labels)}, teacher {number} has {', '.join(teacher.labels)}"
                )

    def __call__(self, docs: Sequence[Doc]) -> list[np.ndarray]:
        """See `Teacher`."""
        tags = biluo_tags(self.labels)
        predicted = []
        for teacher in self._teachers:
            column = {tag: index for index, tag in enumerate(biluo_tags(teacher.labels))}
            order = [column[tag] for tag in tags]
            predicted.append([rows[:, order] for rows in teacher(docs)])
        means = []
        for rows in map(np.array, zip(*predicted, strict=True)):
            n_teachers = rows.any(2).sum(0)
            means.append(rows.sum(0) / np.maximum(n_teachers, 1)[:, None].astype(np.float32))
        return means


def pipeline_teacher(nlp: Language) -> Teacher:
    """Create a teacher from a pipeline.

    nlp (Language): the pipeline.
    RETURNS (Teacher): a `SoftTeacher` if only one component sets entities and it is a
        `ProbabilityTagger`, such as `bigru_ner`; otherwise a `HardTeacher`.
    RAISES (TeacherError): if no component sets entities.
    """
    setters = setters_of(nlp, "doc.ents")
    if len(setters) == 1 and hasattr(nlp.get_pipe(setters[0]), "tag_probabilities"):
        return SoftTeacher(nlp, setters[0])
    return HardTeacher(nlp)


def load_teacher(
    name: str,
    load: Callable[[str], Language],
    *,
    device: str | None = None,
    rename: Mapping[str, str] | None = None,
) -> Teacher:
    """Load a teacher, or an ensemble of several.

    name (str): a spaCy pipeline (a folder with config.cfg, or an installed package), a Hugging Face
        model (a folder with config.json, or a name on the hub), or several names separated by
        commas.
    load (Callable[[str], Language]): loads a pipeline.
    device (str | None): torch's device for Hugging Face models, None for the CPU.
    rename (Mapping[str, str] | None): new names of labels, see `RenamedTeacher`.
    RETURNS (Teacher): the teacher.
    RAISES (TeacherError): if a teacher cannot be loaded or used, or no teacher has a label of
        `rename`.
    RAISES (ValueError): if a pipeline cannot be loaded.
    """
    rename = rename or {}
    names = teacher_names(name)
    teachers = [_load_one(part, load, device or "cpu") for part in names]
    for part, teacher in zip(names, teachers, strict=True):
        if isinstance(teacher, SoftTeacher) and teacher.threshold:
            logger.warning(
                "%s: its threshold of %g is not used: the student learns the probabilities of all "
                "entities. Set the threshold of the student, as in "
                "-- --components.ner.threshold %g",
                *(part, teacher.threshold, teacher.threshold),
            )
    labels = sorted({label for teacher in teachers for label in teacher.labels})
    lacking = sorted(set(rename) - set(labels))
    if lacking:
        raise TeacherError(
            f"cannot rename {', '.join(lacking)}: the labels of {name} are {', '.join(labels)}"
        )
    return Ensemble([RenamedTeacher(teacher, rename) for teacher in teachers])


def teacher_names(name: str) -> list[str]:
    """Split the names of several teachers.

    name (str): see `load_teacher`.
    RETURNS (list[str]): the names of the teachers.
    RAISES (TeacherError): if a name is empty.
    """
    names = [name] if Path(name).exists() else [part.strip() for part in name.split(",")]
    if "" in names:
        raise TeacherError(f"the teacher {name!r} contains an empty name: extra comma?")
    return names


def teacher_lang(name: str) -> str:
    """Find the language of a teacher.

    name (str): see `load_teacher`.
    RETURNS (str): the language of the first spaCy pipeline; "en" for Hugging Face models.
    """
    for part in teacher_names(name):
        folder = get_package_path(part) if is_package(part) else Path(part)
        config = next(folder.glob("**/config.cfg"), None)
        if config is not None:
            return str(load_config(config)["nlp"]["lang"])
    return "en"


def _load_one(name: str, load: Callable[[str], Language], device: str) -> Teacher:
    if is_package(name) or (Path(name) / "config.cfg").exists():
        return pipeline_teacher(load(name))
    return HuggingFaceTeacher(name, device=device)
