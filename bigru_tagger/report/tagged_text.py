"""Gold data and predictions as one text, independent of the Docs they were read in."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from spacy.training import Example

from ..corpus.sentences import sentence_starts
from ..schemes import OUTSIDE
from ..scoring.scoring import TaggedDoc, place_predictions, tag_example
from ..tasks import ENTITIES, Task


@dataclass
class TaggedText:
    """The tokens of all references in order, with IOB2 tags. No entity crosses a Doc.

    words (list[str]): the words, one per token.
    gold, predicted (list[str]): the tags, one per token; "O" for tokens that are not annotated.
    doc_ends (list[int]): the number of tokens up to the end of each Doc, rising.
    sentence_starts (list[int]): the first token of each sentence or Doc, rising.
    annotated (list[int]): the first token of each annotated Doc.
    n_sentences (int): number of sentences in the annotated Docs. A Doc without sentence boundaries
        counts as one.
    unaligned (list[tuple[int, str, str]]): predicted entities that do not align with the tokens:
        the first token that they overlap, the text, and the tag. For an entity that overlaps no
        token, the last token of its Doc.
    """

    words: list[str] = field(default_factory=list)
    gold: list[str] = field(default_factory=list)
    predicted: list[str] = field(default_factory=list)
    doc_ends: list[int] = field(default_factory=list)
    sentence_starts: list[int] = field(default_factory=list)
    annotated: list[int] = field(default_factory=list)
    n_sentences: int = 0
    unaligned: list[tuple[int, str, str]] = field(default_factory=list)

    def documents(self, ends: Sequence[int]) -> list[TaggedDoc]:
        """Split the text into documents.

        ends (Sequence[int]): the number of tokens up to the end of each document, rising. Each must
            be the end of a Doc, and the last must be the end of the text.
        RETURNS (list[TaggedDoc]): the documents with annotation.
        """
        extra: dict[int, list[tuple[str, str]]] = {}
        for start, text, tag in self.unaligned:
            extra.setdefault(bisect_right(ends, start), []).append((text, tag))
        annotated = {bisect_right(ends, start) for start in self.annotated}
        documents = []
        for i, (start, end) in enumerate(zip([0, *ends], ends, strict=False)):
            if i not in annotated:
                continue
            unaligned = extra.get(i, [])
            documents.append(
                TaggedDoc(
                    words=self.words[start:end] + [text for text, _ in unaligned],
                    gold=self.gold[start:end] + [OUTSIDE] * len(unaligned),
                    predicted=self.predicted[start:end] + [tag for _, tag in unaligned],
                )
            )
        return documents

    def sentence(self, start: int, end: int, most: int) -> tuple[int, int]:
        """Find the sentence or sentences that contain some tokens.

        start, end (int): the first token, and the token after the last.
        most (int): the most tokens to add on each side.
        RETURNS (tuple[int, int]): the first token of the result, and the token after its last.
        """
        first = self.sentence_starts[bisect_right(self.sentence_starts, start) - 1]
        following = bisect_left(self.sentence_starts, end)
        known = following < len(self.sentence_starts)
        last = self.sentence_starts[following] if known else len(self.words)
        return max(first, start - most), min(last, end + most)


def join_examples(examples: Iterable[Example], task: Task = ENTITIES) -> TaggedText:
    """Join examples into one text.

    examples (Iterable[Example]): predictions with their references.
    task (Task): the task whose annotation is read.
    RETURNS (TaggedText): the joined text.
    RAISES (ValueError): see `tag_example`.
    """
    text = TaggedText()
    for eg in examples:
        start, size = len(text.words), len(eg.reference)
        if not size:
            continue
        text.words += [token.text for token in eg.reference]
        sentences = sentence_starts(eg.reference)
        text.sentence_starts += [start + i for i in sentences]
        text.doc_ends.append(start + size)
        doc = tag_example(eg, task)
        if doc is None:
            text.gold += [OUTSIDE] * size
            text.predicted += [OUTSIDE] * size
            continue
        text.annotated.append(start)
        text.n_sentences += len(sentences)
        text.gold += doc.gold[:size]
        text.predicted += doc.predicted[:size]
        if len(doc.words) > size:
            firsts = [placed.start for placed in place_predictions(eg, task) if not placed.aligned]
            appended = zip(firsts, doc.words[size:], doc.predicted[size:], strict=True)
            text.unaligned += [
                (start + min(first, size - 1), word, tag) for first, word, tag in appended
            ]
    return text
