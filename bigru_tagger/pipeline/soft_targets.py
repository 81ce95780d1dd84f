"""Teacher interface and soft targets."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from spacy.tokens import Doc

from ..errors import ConfigError, DataError
from ..schemes import OUTSIDE, label_of

KEY = "bigru_tagger.soft_targets"
"""The key of the `SoftTargets` in the `user_data` of an example's reference Doc."""


class TeacherError(DataError):
    """A teacher cannot be loaded or used."""


class Teacher(Protocol):
    """The interface of a teacher for distillation."""

    @property
    def labels(self) -> tuple[str, ...]:
        """RETURNS (tuple[str, ...]): the entity labels that the teacher can predict."""

    def __call__(self, docs: Sequence[Doc]) -> list[np.ndarray]:
        """Predict a distribution over BILUO tags for each token.

        docs (Sequence[Doc]): the Docs, with sentence boundaries if known. They are not modified.
        RETURNS (list[ndarray]): for each Doc, the probabilities of `biluo_tags(labels)`, float32
            (n_tokens, n_tags). A row of zeros is a token without a prediction.
        """


@dataclass(frozen=True, eq=False)
class SoftTargets:
    """The teacher's most probable tags for each token of a Doc, and the settings of the loss.

    The loss of a token is (1 − weight) · H(gold, p) + weight · T² · H(q_T, p_T). H is the
    cross-entropy, and p the student's distribution. q_T and p_T are the teacher's and the student's
    distributions at the temperature T: the softmax of the logits divided by T, which equals the
    probabilities to the power of 1 / T, normalized (Hinton, Vinyals and Dean 2015, arXiv
    1503.02531). The gradient of H(q_T, p_T) scales with 1 / T², so the factor T² keeps the ratio of
    the two terms. Tokens without a gold tag use only the second term with weight 1. Tokens without
    a teacher's output use only the first term with weight 1.

    tags (tuple[str, ...]): names of the teacher's tags.
    columns (ndarray): indices into `tags`, k for each token, int (n_tokens, k).
    probabilities (ndarray): the probabilities of these tags, float32 (n_tokens, k). They are
        normalized to sum to 1; all other tags have the probability 0. A row of zeros is a token
        without a teacher's output.
    temperature (float): T, above 0.
    weight (float): the weight of the second term for tokens with a gold tag, from 0 to 1.
    """

    tags: tuple[str, ...]
    columns: np.ndarray
    probabilities: np.ndarray
    temperature: float = 1.0
    weight: float = 0.5

    def __post_init__(self) -> None:
        """Check the settings, see `check_settings`."""
        check_settings(self.temperature, self.weight)

    @classmethod
    def of(cls, doc: Doc) -> "SoftTargets | None":
        """Get the soft targets that `attach` stored on a Doc.

        doc (Doc): an example's reference.
        RETURNS (SoftTargets | None): the soft targets, None if the Doc has none.
        """
        return doc.user_data.get(KEY)

    def attach(self, doc: Doc) -> None:
        """Store these targets on the reference of an example, for the student's loss.

        doc (Doc): an example's reference, which is modified.
        RAISES (ValueError): if the Doc has a different number of tokens.
        """
        if len(doc) != len(self.columns):
            raise DataError(
                f"the text {doc.text[:60]!r} has {len(doc)} tokens, but the teacher's outputs are "
                f"for {len(self.columns)}"
            )
        doc.user_data[KEY] = self

    @property
    def labels(self) -> list[str]:
        """RETURNS (list[str]): the labels of the teacher's tags."""
        return sorted({label_of(tag) for tag in self.tags} - {""})

    def select(self, labels: Collection[str]) -> "SoftTargets":
        """Add the probabilities of the tags of all other labels to those of O.

        labels (Collection[str]): the labels to keep.
        RETURNS (SoftTargets): the targets over O and the tags of these labels.
        """
        tags = (OUTSIDE, *(tag for tag in self.tags if label_of(tag) in labels))
        column = {tag: index for index, tag in enumerate(tags)}
        own = np.array([column.get(tag, 0) for tag in self.tags], dtype=np.int64)
        probabilities = np.zeros((len(self.columns), len(tags)), dtype=np.float32)
        rows = np.arange(len(self.columns))[:, None]
        np.add.at(probabilities, (rows, own[self.columns]), self.probabilities)
        columns = np.broadcast_to(np.arange(len(tags)), probabilities.shape)
        return replace(self, tags=tags, columns=columns, probabilities=probabilities)

    def soften(self, column: Mapping[str, int]) -> np.ndarray:
        """Compute the teacher's distributions at the temperature, over the student's tags.

        column (Mapping[str, int]): the student's output index for each tag.
        RETURNS (ndarray): the distributions, float32 (n_tokens, n_tags). Rows sum to 1, or to 0
            for tokens without a teacher's output.
        RAISES (ValueError): if the student does not have one of the teacher's labels.
        """
        lacking = sorted({label_of(tag) for tag in self.tags if tag not in column})
        if lacking:
            raise DataError(
                f"the component does not have these labels of the teacher: {', '.join(lacking)}. "
                "Add them under [initialize.components], or remove `labels` there to collect the "
                "labels from the teacher's outputs"
            )
        softened = self.probabilities ** np.float32(1.0 / self.temperature)
        total = softened.sum(1, keepdims=True)
        softened /= np.where(total > 0.0, total, 1.0)
        output = np.array([column[tag] for tag in self.tags], dtype=np.int64)
        rows = np.zeros((len(self.columns), len(column)), dtype=np.float32)
        np.put_along_axis(rows, output[self.columns], softened, axis=1)
        return rows


def check_settings(temperature: float, weight: float) -> None:
    """Check the settings of distillation.

    temperature (float): see `SoftTargets`.
    weight (float): see `SoftTargets`.
    RAISES (ValueError): if the temperature is not above 0, or the weight not between 0 and 1.
    """
    if not temperature > 0.0:
        raise ConfigError(f"temperature must be above 0; got {temperature}")
    if not 0.0 <= weight <= 1.0:
        raise ConfigError(f"weight must be between 0 and 1; got {weight}")
