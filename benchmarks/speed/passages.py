"""Read gold data for benchmarks, and split or join them to Docs of any size."""

import itertools
import random
import string
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import spacy
from spacy.tokens import Doc
from spacy.training import Example
from spacy.vocab import Vocab

from bigru_tagger.corpus.corpus import open_corpus
from bigru_tagger.scoring.scoring import same_words

_SHORT = range(8, 16)  # tokens of a short sentence
_RANDOM = 0.05  # share of words in the stream that are new


@dataclass(frozen=True)
class Passage:
    """The tokens of a Doc that is not created yet.

    words (list[str]): the tokens.
    spaces (list[bool]): whether a space follows each token.
    starts (list[bool | int | None] | None): whether a sentence starts at each token; `None` if
        sentence starts are not known.
    """

    words: list[str]
    spaces: list[bool]
    starts: list[bool | int | None] | None

    def __len__(self) -> int:
        """Count the tokens."""
        return len(self.words)

    @property
    def text(self) -> str:
        """RETURNS (str): the text."""
        return "".join(w + " " * s for w, s in zip(self.words, self.spaces, strict=True))

    def doc(self, vocab: Vocab) -> Doc:
        """Create a Doc without other annotation.

        vocab (Vocab): the vocabulary of the Doc.
        RETURNS (Doc): a new Doc.
        """
        return Doc(vocab, words=self.words, spaces=self.spaces, sent_starts=self.starts)


@dataclass(frozen=True)
class Shape:
    """Docs of one size.

    docs (int): number of Docs.
    tokens (int | None): number of tokens in each Doc; `None` for one sentence of the data.
    with_starts (bool): whether the sentence starts of the data are set.
    """

    docs: int
    tokens: int | None
    with_starts: bool

    def __str__(self) -> str:
        """Describe the shape for a table."""
        tokens = "of one sentence" if self.tokens is None else f"of {self.tokens:,} tokens"
        known = "with" if self.with_starts else "without"
        return f"{self.docs:,} Doc{'s' * (self.docs != 1)} {tokens}, {known} sentence starts"


def read_passages(
    data: str, *, split: str, sentences_per_doc: int | None = None, limit: int | None = None
) -> list[Passage]:
    """Read the tokens of gold data, with sentence starts if pipelines get them.

    data (str): the data, see `open_corpus`.
    split (str): the split.
    sentences_per_doc (int | None): sentences per Doc, 0 for whole documents; None for the reader's
        default.
    limit (int | None): stop after the Doc that reaches this number of words.
    RETURNS (list[Passage]): at least one passage, without empty ones.
    RAISES (ValueError): the data cannot be read, or have no tokens.
    """
    options = {} if sentences_per_doc is None else {"sentences_per_doc": sentences_per_doc}
    corpus = open_corpus(data, split=split, **options)
    passages: list[Passage] = []
    n_words = 0
    for eg in corpus(spacy.blank("en")):
        if limit is not None and n_words >= limit:
            break
        if len(eg.reference):
            passages.append(_read_passage(eg))
            n_words += len(eg.reference)
    if not passages:
        raise ValueError(f"{data}: the split {split!r} has no tokens; check --split")
    return passages


def _read_passage(eg: Example) -> Passage:
    doc = eg.reference
    known = same_words(eg) and eg.predicted.has_annotation("SENT_START")
    return Passage(
        words=[token.text for token in doc],
        spaces=[bool(token.whitespace_) for token in doc],
        starts=[token.is_sent_start for token in eg.predicted] if known else None,
    )


def join(passages: Iterable[Passage]) -> Passage:
    """Join passages. A sentence starts at the first token of each.

    passages (Iterable[Passage]): the passages, none of them empty.
    RETURNS (Passage): the joined passage.
    """
    passages = list(passages)
    starts: list[bool | int | None] = []
    for passage in passages:
        given = passage.starts or [False] * len(passage)
        starts += [True, *(bool(start) for start in given[1:])]
    return Passage(
        words=[word for passage in passages for word in passage.words],
        spaces=[space for passage in passages for space in passage.spaces],
        starts=starts,
    )


def part(passages: Iterable[Passage]) -> list[Passage]:
    """Split passages into sentences.

    passages (Iterable[Passage]): the passages, none of them empty.
    RETURNS (list[Passage]): one passage per sentence.
    """
    whole = join(passages)
    bounds = [*(i for i, start in enumerate(whole.starts or []) if start), len(whole)]
    return [
        Passage(whole.words[i:j], whole.spaces[i:j], [True, *[False] * (j - i - 1)])
        for i, j in itertools.pairwise(bounds)
    ]


def reshape(passages: Sequence[Passage], shape: Shape) -> list[Passage]:
    """Make Docs of one size from the data, and repeat the data if necessary.

    passages (Sequence[Passage]): the data.
    shape (Shape): the size and number of Docs.
    RETURNS (list[Passage]): the Docs.
    """
    if shape.tokens is None:
        cut = list(itertools.islice(itertools.cycle(part(passages)), shape.docs))
    else:
        whole = join(passages)
        known = whole.starts or []
        cut = []
        for doc in range(shape.docs):
            begin = doc * shape.tokens
            tokens = [i % len(whole) for i in range(begin, begin + shape.tokens)]
            starts = [True, *(known[i] for i in tokens[1:])]
            cut.append(
                Passage([whole.words[i] for i in tokens], [whole.spaces[i] for i in tokens], starts)
            )
    if shape.with_starts:
        return cut
    return [Passage(passage.words, passage.spaces, None) for passage in cut]


def first_words(passages: Iterable[Passage], n_words: float) -> Iterator[Passage]:
    """Take the first passages that have at least a number of words together, one or more.

    passages (Iterable[Passage]): the passages. Of an iterator, no other is taken.
    n_words (float): the number.
    YIELDS (Passage): the passages.
    """
    for passage in passages:
        yield passage
        n_words -= len(passage)
        if n_words <= 0:
            return


def stream(
    passages: Sequence[Passage], n_words: int, *, random_share: float = _RANDOM, seed: int = 0
) -> Iterator[Passage]:
    """Repeat the data and replace some words by random letters, so that the vocabulary grows.

    passages (Sequence[Passage]): the data.
    n_words (int): the least number of words. The last passage is complete.
    random_share (float): the probability of replacing a word, from 0 to 1.
    seed (int): the seed of the random numbers.
    YIELDS (Passage): the passages.
    """
    generator = random.Random(seed)
    for passage in itertools.cycle(passages):
        if n_words <= 0:
            return
        n_words -= len(passage)
        words = [
            _random_word(generator) if generator.random() < random_share else word
            for word in passage.words
        ]
        yield Passage(words, passage.spaces, passage.starts)


def _random_word(generator: random.Random) -> str:
    return "".join(generator.choices(string.ascii_lowercase, k=10))


def short_text(passages: Sequence[Passage]) -> str:
    """Choose a short sentence from the data.

    passages (Sequence[Passage]): the data.
    RETURNS (str): the first sentence with 8 to 15 tokens, or the first sentence if there is none.
    """
    sentences = part(passages)
    short = next((sentence for sentence in sentences if len(sentence) in _SHORT), sentences[0])
    return short.text.strip()
