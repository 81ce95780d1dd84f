"""What a teacher is and says of a Doc's tokens, where a student finds it, how it is softened."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from spacy.tokens import Doc

from ..model.devices import to_torch
from ..network.decoder import SoftLabels
from ..schemes import label_of

KEY = "bigru_tagger.soft_targets"
"""The key of `doc.user_data` under which an example's reference holds its `SoftTargets`."""


class TeacherError(ValueError):
    """A teacher that cannot be used: the message says what is wrong, and what to do."""


class Teacher(Protocol):
    """What distillation asks of a teacher."""

    @property
    def labels(self) -> tuple[str, ...]:
        """RETURNS (tuple[str, ...]): the labels of the entities that it finds."""

    def __call__(self, docs: Sequence[Doc]) -> list[np.ndarray]:
        """Judge the tokens of Docs.

        docs (Sequence[Doc]): tokens, with sentence starts where they are known; left as they are.
        RETURNS (list[ndarray]): for each Doc the probability of each of `biluo_tags(labels)` at
            each token, a row of zeros where there is nothing to say, float32 (n_tokens, n_tags).
        """


@dataclass(frozen=True, eq=False)
class SoftTargets:
    """A teacher's most probable tags of each token of a Doc, and what they count for a student.

    The loss of a token is (1 − weight) · H(gold, p) + weight · T² · H(q_T, p_T), where H is the
    cross-entropy, p the student's distribution, and q_T and p_T the teacher's and the student's at
    the temperature T: the logits divided by T, or what is the same, probabilities to the power of
    1 / T, normalised (Hinton, Vinyals and Dean 2015, arXiv 1503.02531). The factor T² keeps the
    gradient of the second part, which shrinks by that, in proportion. Where a token lacks gold,
    the second part counts alone; where the teacher says nothing, the first.

    tags (tuple[str, ...]): names of the teacher's tags.
    columns (ndarray): for each token, some of these tags as indices, int (n_tokens, k).
    probabilities (ndarray): their probabilities, float32 (n_tokens, k). The tags that are left out
        count as impossible, and these as all there is; a row of zeros says nothing.
    temperature (float): T.
    weight (float): the teacher's share where there is gold as well.
    """

    tags: tuple[str, ...]
    columns: np.ndarray
    probabilities: np.ndarray
    temperature: float = 1.0
    weight: float = 0.5

    def __post_init__(self) -> None:
        """Check the settings.

        RAISES (ValueError): a temperature that is not above 0, or a weight that is no share.
        """
        check_settings(self.temperature, self.weight)

    @classmethod
    def of(cls, doc: Doc) -> "SoftTargets | None":
        """Find the targets of a Doc.

        doc (Doc): an example's reference.
        RETURNS (SoftTargets | None): what `attach` left there; None without.
        """
        return doc.user_data.get(KEY)

    def attach(self, doc: Doc) -> None:
        """Leave these targets where the student's loss finds them: spaCy copies no reference.

        doc (Doc): an example's reference.
        RAISES (ValueError): if it has another number of tokens.
        """
        if len(doc) != len(self.columns):
            raise ValueError(
                f"{len(doc)} tokens, but a teacher's outputs for {len(self.columns)}, in the text "
                f"{doc.text[:60]!r}"
            )
        doc.user_data[KEY] = self

    @property
    def labels(self) -> list[str]:
        """RETURNS (list[str]): the labels of the teacher's tags."""
        return sorted({label_of(tag) for tag in self.tags} - {""})

    def soften(self, column: Mapping[str, int]) -> np.ndarray:
        """Lay the teacher's distributions at the temperature out as the student's.

        column (Mapping[str, int]): the student's output for each tag.
        RETURNS (ndarray): rows that sum to 1, or to 0 where the teacher says nothing, float32
            (n_tokens, n_tags).
        RAISES (ValueError): if the student lacks a label.
        """
        lacking = sorted({label_of(tag) for tag in self.tags if tag not in column})
        if lacking:
            raise ValueError(
                f"the teacher has labels that the component does not know: {', '.join(lacking)}. "
                "Add them under [initialize.components], or leave the labels out there, so that "
                "they are found in the teacher's outputs"
            )
        softened = self.probabilities ** np.float32(1.0 / self.temperature)
        total = softened.sum(1, keepdims=True)
        softened /= np.where(total > 0.0, total, 1.0)
        output = np.array([column[tag] for tag in self.tags], dtype=np.int64)
        rows = np.zeros((len(self.columns), len(column)), dtype=np.float32)
        np.put_along_axis(rows, output[self.columns], softened, axis=1)
        return rows


def join(
    targets: Sequence[SoftTargets | None],
    lengths: Sequence[int],
    column: Mapping[str, int],
    device: torch.device,
) -> SoftLabels:
    """Join the targets of a batch.

    targets (Sequence[SoftTargets | None]): those of each Doc.
    lengths (Sequence[int]): tokens of each Doc.
    column (Mapping[str, int]): the student's output for each tag.
    device (device): where they are needed.
    RETURNS (SoftLabels): the targets of all tokens, in the order of the student's outputs.
    RAISES (ValueError): see `SoftTargets.soften`.
    """
    distributions = [
        np.zeros((length, len(column)), np.float32) if part is None else part.soften(column)
        for part, length in zip(targets, lengths, strict=True)
    ]
    settings = [(1.0, 0.0) if part is None else (part.temperature, part.weight) for part in targets]
    temperature, weight = np.repeat(np.array(settings, np.float32), lengths, axis=0).T
    arrays = (np.concatenate(distributions), temperature.copy(), weight.copy())
    return SoftLabels(*(to_torch(array, device) for array in arrays))


def check_settings(temperature: float, weight: float) -> None:
    """Check what distillation is asked for.

    temperature (float): see `SoftTargets`.
    weight (float): see `SoftTargets`.
    RAISES (ValueError): a temperature that is not above 0, or a weight that is no share.
    """
    if not temperature > 0.0:
        raise ValueError(f"temperature has to be above 0; got {temperature}")
    if not 0.0 <= weight <= 1.0:
        raise ValueError(f"weight has to be between 0 and 1; got {weight}")
