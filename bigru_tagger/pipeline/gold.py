"""Correction of gold spans that the decoder can never predict."""

from typing import NamedTuple

import numpy as np
from spacy.attrs import IS_SPACE, SENT_START
from spacy.tokens import Doc

from ..schemes import OUTSIDE, biluo_spans, span_tags

Gold = list[str | None]
"""A tag per token, None for tokens without a gold tag."""


class Correction(NamedTuple):
    """A gold span that the decoder can never predict.

    start (int): index of the first token.
    end (int): index after the last token.
    label (str): the label.
    problem (str): "space" if the span starts or ends with white space, "sentence" if it crosses a
        sentence boundary.
    """

    start: int
    end: int
    label: str
    problem: str

    def describe(self, doc: Doc) -> str:
        """Describe the span and its correction.

        doc (Doc): the Doc of the span.
        RETURNS (str): the message, two sentences.
        """
        span = doc[self.start : self.end]
        where = f"the span {span.text!r} ({self.label}) in the training text {doc.text[:60]!r}"
        if self.problem == "space":
            return (
                f"{where} starts or ends with white space, but predicted spans never do. It is "
                "learned without the white space."
            )
        return (
            f"{where} crosses a sentence boundary of the Doc, but predicted spans never do. Its "
            "tokens are not used for training."
        )


def correct_gold(tags: Gold, doc: Doc, *, cut_at_sentences: bool) -> tuple[Gold, list[Correction]]:
    """Correct gold spans that the decoder can never predict.

    Predicted spans never start or end with white space, so white space is removed from both ends
    of gold spans. Predicted spans never cross a sentence boundary that is set on the Doc, so the
    tags of gold spans that do are replaced by None.

    tags (list[str | None]): BILUO tags, None for tokens without a gold tag.
    doc (Doc): the predicted Doc.
    cut_at_sentences (bool): whether the decoder processes each sentence separately.
    RETURNS (tuple[list[str | None], list[Correction]]): the corrected tags, and the corrections.
    """
    is_space, starts = doc.to_array([IS_SPACE, SENT_START]).reshape(len(doc), 2).T == 1
    if not cut_at_sentences:
        starts = np.zeros_like(starts)
    if not is_space.any() and not starts[1:].any():
        return tags, []
    corrected, corrections = list(tags), []
    for label, start, end in biluo_spans(tags):
        inner = start + np.flatnonzero(~is_space[start:end])
        first, stop = (int(inner[0]), int(inner[-1]) + 1) if len(inner) else (end, end)
        if (first, stop) != (start, end):
            corrected[start:end] = [OUTSIDE] * (end - start)
            corrected[first:stop] = span_tags(label, stop - first)
            corrections.append(Correction(start, end, label, "space"))
        if starts[first + 1 : stop].any():
            corrected[first:stop] = [None] * (stop - first)
            corrections.append(Correction(start, end, label, "sentence"))
    return corrected, corrections
