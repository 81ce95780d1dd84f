"""Gold data and predictions as one text, whatever Docs they were read in, to be cut anew."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from spacy.training import Example

from ..corpus.sentences import sentence_starts
from ..scoring.scoring import TaggedDoc, tag_example
from ..tasks import ENTITIES, Task


@dataclass
class TaggedText:
    """The tokens of all references, one after the other, with IOB2 tags. No entity crosses a Doc.

    words, gold, predicted (list[str]): a word and two tags per token; "O" where nobody annotated.
    doc_ends (list[int]): the number of tokens up to the end of each Doc, rising.
    sentence_starts (list[int]): the tokens at which a sentence, or a Doc, starts, rising.
    annotated (list[int]): the first token of each Doc that is annotated.
    n_sentences (int): how many sentences these Docs have, as far as that is known.
    unaligned (list[tuple[int, str, str]]): predicted entities that do not align with the tokens, as
        `tag_example` appends them: the first token of their Doc, text, and tag.
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
        """Cut the text.

        ends (Sequence[int]): the number of tokens up to the end of each document, rising; ends of
            Docs all of them, the last one that of the text.
        RETURNS (list[TaggedDoc]): the documents, but for those that nobody annotated.
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
                    gold=self.gold[start:end] + ["O"] * len(unaligned),
                    predicted=self.predicted[start:end] + [tag for _, tag in unaligned],
                )
            )
        return documents

    def sentence(self, start: int, end: int, most: int) -> tuple[int, int]:
        """Find the sentence, or sentences, of some tokens.

        start, end (int): the first token, and the token behind the last.
        most (int): how far from them the result may reach, where sentences are long or not known.
        RETURNS (tuple[int, int]): the first token, and the token behind the last.
        """
        first = self.sentence_starts[bisect_right(self.sentence_starts, start) - 1]
        following = bisect_left(self.sentence_starts, end)
        known = following < len(self.sentence_starts)
        last = self.sentence_starts[following] if known else len(self.words)
        return max(first, start - most), min(last, end + most)


def join_examples(examples: Iterable[Example], task: Task = ENTITIES) -> TaggedText:
    """Put examples one after the other.

    examples (Iterable[Example]): predictions beside their references.
    task (Task): which annotation to read.
    RETURNS (TaggedText): their tokens, tags and ends.
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
            text.gold += ["O"] * size
            text.predicted += ["O"] * size
            continue
        text.annotated.append(start)
        text.n_sentences += len(sentences)
        text.gold += doc.gold[:size]
        text.predicted += doc.predicted[:size]
        behind = zip(doc.words[size:], doc.predicted[size:], strict=True)
        text.unaligned += [(start, word, tag) for word, tag in behind]
    return text
