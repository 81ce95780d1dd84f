"""Read `.spacy` files."""

import logging
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, cast

from spacy.language import Language
from spacy.tokens import Doc, Span, SpanGroup
from spacy.training import Corpus, Example
from spacy.vocab import Vocab

from ..tasks import CHUNKS
from .annotated import AnnotatedLabels, gold_labels
from .augment import Augmenter, augment
from .sentences import CorpusError, copy_tokens, is_label, sentence_starts
from .weights import keep_weights

logger = logging.getLogger(__name__)


class SpacyCorpus(Corpus):
    """spaCy's Corpus, with given sentences, errors that name the file, and one limit for all files.

    path (str): A `.spacy` file, or a folder of them.
    given_sentences (bool): Whether `predicted` has the gold sentence starts, if the gold Doc has
        any and both have the same tokens.
    annotated_labels (AnnotatedLabels | None): See SentenceReader.
    rename (dict[str, str] | None): See SentenceReader.
    spans_key (str): The key of the chunks in `doc.spans`, for `annotated_labels`.
    limit, gold_preproc, max_length, augmenter: See spaCy's Corpus. Sentences of a divided Doc keep
        its spans, weights and marks, and Docs that are too long are counted in a warning.
    """

    def __init__(
        self,
        path: str,
        *,
        given_sentences: bool = True,
        limit: int = 0,
        gold_preproc: bool = False,
        max_length: int = 0,
        augmenter: Augmenter | None = None,
        annotated_labels: AnnotatedLabels | None = None,
        rename: dict[str, str] | None = None,
        spans_key: str = CHUNKS.key,
    ) -> None:
        super().__init__(path, limit=limit, gold_preproc=gold_preproc, max_length=max_length)
        self._own_augmenter = augmenter
        self.given_sentences = given_sentences
        self._labels = gold_labels(annotated_labels, rename, spans_key)

    def _make_example(self, nlp: Language, reference: Doc, gold_preproc: bool) -> Example:
        example = super()._make_example(nlp, reference, gold_preproc)
        if not self.given_sentences or len(sentence_starts(reference)) < 2:
            return example
        if [token.text for token in example.predicted] != [token.text for token in reference]:
            return example
        return Example(copy_tokens(nlp.vocab, example.predicted, reference), reference)

    def make_examples(self, nlp: Language, reference_docs: Iterable[Doc]) -> Iterator[Example]:
        """Make an Example of each Doc, or of each sentence of Docs that are too long."""
        skipped = 0
        for doc in reference_docs:
            parts = [doc]
            if self._is_too_long(doc) and doc.has_annotation("SENT_START"):
                parts = divide(doc, str(self.path))
            for part in parts:
                if self._is_too_long(part):
                    skipped += 1
                elif len(part):
                    yield self._make_example(nlp, part, gold_preproc=False)
        if skipped:
            logger.warning(
                "%s: %d texts left out: they have max_length = %d tokens or more",
                *(self.path, skipped, self.max_length),
            )

    def make_examples_gold_preproc(
        self, nlp: Language, reference_docs: Iterable[Doc]
    ) -> Iterator[Example]:
        """Make an Example of each sentence."""
        for doc in reference_docs:
            for part in divide(doc, str(self.path)) if doc.has_annotation("SENT_START") else [doc]:
                if len(part):
                    yield self._make_example(nlp, part, gold_preproc=True)

    def _is_too_long(self, doc: Doc) -> bool:
        return 0 < self.max_length <= len(doc)

    def __call__(self, nlp: Language) -> Iterator[Example]:
        """Read the files. Each call starts at the beginning."""
        found = super().__call__(nlp)
        examples = self._labels.apply(found, str(self.path), whole=self.limit < 1)
        yield from augment(examples, nlp, self._own_augmenter)

    def read_docbin(self, vocab: Vocab, locs: Iterable[str | Path]) -> Iterator[Doc]:
        """Read the Docs of the files, up to the limit."""
        docs = (doc for loc in locs for doc in self._read(vocab, loc))
        yield from islice(docs, max(self.limit, 0) or None)

    def _read(self, vocab: Vocab, file: str | Path) -> Iterator[Doc]:
        try:
            for doc in super().read_docbin(vocab, [file]):
                _check_labels(doc, file)
                yield doc
        except CorpusError:
            raise
        except Exception as err:  # zlib, msgpack and DocBin raise many types
            raise CorpusError(
                f"{file}: damaged, or not a DocBin file: {err or type(err).__name__}: write it "
                "again, or rename it if the data have a different format"
            ) from err


def _check_labels(doc: Doc, file: str | Path) -> None:
    for span in (*doc.ents, *(span for group in doc.spans.values() for span in group)):
        if not is_label(span.label_):
            raise CorpusError(
                f"{file}: the label {span.label_!r} of {span.text[:60]!r} starts or ends with "
                "white space, or has a character that cannot be seen: write the file again "
                "without it"
            )


def divide(doc: Doc, source: str) -> list[Doc]:
    """Make a Doc of each sentence, with all annotation.

    `Span.as_doc` leaves out `doc.spans`, the extension attributes of the Doc, and that its spaces
    are unknown.

    doc (Doc): The gold Doc, which has sentence starts.
    source (str): Its file, for messages.
    RETURNS (list[Doc]): The sentences. Tokens of entities across their ends are unknown.
    RAISES (CorpusError): A span in `doc.spans` crosses the end of a sentence.
    """
    return [_part(doc, sentence, source) for sentence in doc.sents]


def _part(doc: Doc, sentence: Span, source: str) -> Doc:
    part = sentence.as_doc()
    part.has_unknown_spaces = doc.has_unknown_spaces
    for key, group in doc.spans.items():
        spans = []
        for span in group:
            if sentence.start <= span.start and span.end <= sentence.end:
                first, end = span.start - sentence.start, span.end - sentence.start
                spans.append(Span(part, first, end, span.label, kb_id=span.kb_id, span_id=span.id))
            elif span.start < sentence.end and sentence.start < span.end:
                raise CorpusError(
                    f"{source}: the span {span.text!r} in doc.spans[{key!r}] crosses the end of "
                    f"the sentence {sentence.text[:60]!r}: fix the sentence starts, or read "
                    "whole Docs: set gold_preproc = false and max_length = 0"
                )
        part.spans[key] = SpanGroup(part, name=group.name, attrs=dict(group.attrs), spans=spans)
    data = cast(dict[Any, Any], part.user_data)
    for key, value in cast(dict[Any, Any], doc.user_data).items():
        is_of_part = isinstance(key, tuple) and len(key) == 4 and key[2] is not None
        if not is_of_part:
            data[key] = value
        elif sentence.start_char <= key[2] and (key[3] or key[2]) <= sentence.end_char:
            first, last = (None if i is None else i - sentence.start_char for i in key[2:])
            data[(*key[:2], first, last)] = value
    keep_weights(part, sentence.start, sentence.end)
    return part
