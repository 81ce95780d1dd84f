"""Gold spans that decoding can never find: corrected before they are learned."""

from typing import NamedTuple

import numpy as np
from spacy.attrs import IS_SPACE, SENT_START
from spacy.tokens import Doc

from ..schemes import OUTSIDE, biluo_spans, span_tags

Gold = list[str | None]
"""A tag for each token, None where there is none to learn."""


class Correction(NamedTuple):
    """A gold span that decoding can never find.

    start (int): its first token.
    end (int): token behind its last.
    label (str): its label.
    problem (str): "space" or "sentence".
    """

    start: int
    end: int
    label: str
    problem: str

    def describe(self, doc: Doc) -> str:
        """Describe the span and its correction.

        doc (Doc): the Doc of the span.
        RETURNS (str): two sentences.
        """
        span = doc[self.start : self.end]
        where = f"the span {span.text!r} ({self.label}) in the training text {doc.text[:60]!r}"
        if self.problem == "space":
            return (
                f"{where} begins or ends in white space, where no predicted span does. It is "
                "learned without the white space."
            )
        return (
            f"{where} crosses a sentence start of the Doc, which no predicted span does. Its "
            "tokens are not learned from."
        )


def correct_gold(tags: Gold, doc: Doc, *, cut_at_sentences: bool) -> tuple[Gold, list[Correction]]:
    """Make spans of gold tags such as decoding can find.

    Decoding finds no span that begins or ends in white space: such a span loses it. Nor does it
    find a span that crosses a sentence start which the Doc has: the tags of its tokens become
    unknown.

    tags (list[str | None]): BILUO tags.
    doc (Doc): the tokens, as decoding will see them.
    cut_at_sentences (bool): whether decoding goes sentence by sentence.
    RETURNS (tuple[list[str | None], list[Correction]]): the tags, and what was corrected.
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
