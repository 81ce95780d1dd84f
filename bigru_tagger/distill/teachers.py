"""Teachers: anything that finds entities, as a distribution over BILUO tags for each token."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from spacy.language import Language
from spacy.tokens import Doc
from spacy.util import is_package

from ..corpus.sentences import copy_tokens
from ..pipeline.ner import BiGRUNer, biluo
from ..pipeline.soft_targets import Teacher, TeacherError
from ..schemes import biluo_tags, label_of
from ..scoring.loading import setters_of
from .huggingface_teacher import HuggingFaceTeacher


class OwnTeacher:
    """A pipeline whose entities are from a `bigru_ner`, and from nothing else.

    It uses tag marginals over all valid sequences, not the softmax of the logits, which ignores
    transitions. So the student learns what the teacher finds after decoding, at the cost of one
    forward-backward run.
    """

    def __init__(self, nlp: Language, component: str) -> None:
        """Hold the pipeline.

        nlp (Language): the pipeline.
        component (str): name of its `bigru_ner`.
        """
        self._nlp = nlp
        self._ner: BiGRUNer = nlp.get_pipe(component)  # type: ignore[assignment]
        # What stands in front may have to run: a shared encoder, sentence starts.
        self._disable = nlp.pipe_names[nlp.pipe_names.index(component) :]
        self.labels = self._ner.labels

    def __call__(self, docs: Sequence[Doc]) -> list[np.ndarray]:
        """See `Teacher`."""
        # The vocabulary would grow with every text, and nothing but numbers is kept.
        with self._nlp.memory_zone():
            copies = [copy_tokens(self._nlp.vocab, doc, doc) for doc in docs]
            prepared = list(self._nlp.pipe(copies, disable=self._disable))
            return [rows.astype(np.float32) for rows in self._ner.tag_probabilities(prepared)]


class DecidedTeacher:
    """Any pipeline that sets `doc.ents`: its decisions, with a probability of 1."""

    def __init__(self, nlp: Language) -> None:
        """Hold the pipeline.

        nlp (Language): the pipeline.
        RAISES (TeacherError): if none of its components sets entities and says of which labels.
        """
        self._nlp = nlp
        setters = setters_of(nlp, "doc.ents")
        self.labels = tuple(
            sorted({str(label) for name in setters for label in nlp.pipe_labels.get(name, [])})
        )
        if not self.labels:
            raise TeacherError(
                f"the pipeline {nlp.meta['lang']}_{nlp.meta['name']} has no component that finds "
                f"entities of labels it tells: it has {', '.join(nlp.pipe_names) or 'none at all'}"
            )

    def __call__(self, docs: Sequence[Doc]) -> list[np.ndarray]:
        """See `Teacher`.

        RAISES (TeacherError): an entity of a label that no component told.
        """
        with self._nlp.memory_zone():
            copies = [copy_tokens(self._nlp.vocab, doc, doc) for doc in docs]
            return self._decisions(self._nlp.pipe(copies))

    def _decisions(self, docs: Iterable[Doc]) -> list[np.ndarray]:
        column = {tag: index for index, tag in enumerate(biluo_tags(self.labels))}
        found = []
        for doc in docs:
            rows = np.zeros((len(doc), len(column)), dtype=np.float32)
            for token, tag in enumerate(biluo(doc)):
                if tag is not None and tag not in column:
                    raise TeacherError(
                        f"the teacher set an entity of the label {label_of(tag)!r}, which none of "
                        f"its components tells: they tell {', '.join(self.labels)}"
                    )
                if tag is not None:
                    rows[token, column[tag]] = 1.0
            found.append(rows)
        return found


class Renamed:
    """A teacher by other names of its labels."""

    def __init__(self, teacher: Teacher, names: Mapping[str, str]) -> None:
        """Hold the teacher.

        teacher (Teacher): the teacher.
        names (Mapping[str, str]): new names of labels. Labels that get the same name become one,
            and "" makes a label count as O.
        RAISES (TeacherError): if no label is left.
        """
        self._teacher = teacher
        new = {label: names.get(label, label) for label in teacher.labels}
        self.labels = tuple(sorted({name for name in new.values() if name}))
        if not self.labels:
            raise TeacherError("all labels of the teacher count as O: leave it some")
        column = {tag: index for index, tag in enumerate(biluo_tags(self.labels))}
        self._columns = [column.get(tag, 0) for tag in biluo_tags(new.values())]

    def __call__(self, docs: Sequence[Doc]) -> list[np.ndarray]:
        """See `Teacher`."""
        found = []
        for rows in self._teacher(docs):
            renamed = np.zeros((len(rows), len(biluo_tags(self.labels))), np.float32)
            np.add.at(renamed.T, self._columns, rows.T)
            found.append(renamed)
        return found


class Ensemble:
    """Several teachers: the mean of their distributions, over those that say anything."""

    def __init__(self, teachers: Sequence[Teacher]) -> None:
        """Hold the teachers.

        teachers (Sequence[Teacher]): at least one.
        RAISES (TeacherError): if their labels differ.
        """
        self._teachers = teachers
        self.labels = teachers[0].labels
        for number, teacher in enumerate(teachers[1:], start=2):
            if set(teacher.labels) != set(self.labels):
                raise TeacherError(
                    "the teachers of an ensemble need the same labels: the first has "
                    f"{', '.join(self.labels)}, number {number} has {', '.join(teacher.labels)}"
                )

    def __call__(self, docs: Sequence[Doc]) -> list[np.ndarray]:
        """See `Teacher`."""
        tags = biluo_tags(self.labels)
        judged = []
        for teacher in self._teachers:
            own = {tag: index for index, tag in enumerate(biluo_tags(teacher.labels))}
            order = [own[tag] for tag in tags]
            judged.append([rows[:, order] for rows in teacher(docs)])
        means = []
        for rows in map(np.array, zip(*judged, strict=True)):
            n_teachers = rows.any(2).sum(0)
            means.append(rows.sum(0) / np.maximum(n_teachers, 1)[:, None].astype(np.float32))
        return means


def pipeline_teacher(nlp: Language) -> Teacher:
    """Make a teacher of a pipeline.

    nlp (Language): the pipeline.
    RETURNS (Teacher): our own entity recogniser by its probabilities if nothing else in the
        pipeline sets entities; otherwise the pipeline by its decisions.
    RAISES (TeacherError): nothing in it sets entities.
    """
    setters = setters_of(nlp, "doc.ents")
    if len(setters) == 1 and isinstance(nlp.get_pipe(setters[0]), BiGRUNer):
        return OwnTeacher(nlp, setters[0])
    return DecidedTeacher(nlp)


def load_teacher(
    name: str,
    load: Callable[[str], Language],
    *,
    device: str | None = None,
    rename: Mapping[str, str] | None = None,
) -> Teacher:
    """Load whatever a user names as teacher.

    name (str): a pipeline (a folder with config.cfg, or an installed package), a model of Hugging
        Face (a folder with config.json, or a name on the hub), or several, joined by commas.
    load (Callable[[str], Language]): loads a pipeline.
    device (str | None): torch's name of the device of a Hugging Face model.
    rename (Mapping[str, str] | None): new names of labels, see `Renamed`.
    RETURNS (Teacher): the teacher.
    RAISES (TeacherError): there is no such teacher, it cannot be used, or it lacks a label that is
        to be renamed. (ValueError): the pipeline cannot be loaded.
    """
    rename = rename or {}
    teachers = [_load_one(part, load, device or "cpu") for part in teacher_names(name)]
    labels = sorted({label for teacher in teachers for label in teacher.labels})
    lacking = sorted(set(rename) - set(labels))
    if lacking:
        raise TeacherError(
            f"cannot rename {', '.join(lacking)}: the labels of {name} are {', '.join(labels)}"
        )
    return Ensemble([Renamed(teacher, rename) for teacher in teachers])


def teacher_names(name: str) -> list[str]:
    """Tell the teachers of an ensemble apart.

    name (str): see `load_teacher`.
    RETURNS (list[str]): the names.
    RAISES (TeacherError): an empty name.
    """
    names = [name] if Path(name).exists() else [part.strip() for part in name.split(",")]
    if "" in names:
        raise TeacherError(f"the teacher {name!r} has an empty name: is there a comma too much?")
    return names


def _load_one(name: str, load: Callable[[str], Language], device: str) -> Teacher:
    if is_package(name) or (Path(name) / "config.cfg").exists():
        return pipeline_teacher(load(name))
    return HuggingFaceTeacher(name, device=device)
