"""The component `bigru_tagger`: one tag per token, written to `token.tag`."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import ClassVar

import numpy as np
from spacy.tokens import Doc
from spacy.training import Example
from spacy.vocab import Vocab
from thinc.api import Model
from thinc.types import Floats2d

from ..decoding.transitions import Array, Transitions, to_numpy
from ..stages import ANNOTATE, DECODE, stage
from ..tasks import TAGS, TokenTask
from .component import SequenceTagger
from .factories import Scorer
from .gold import Gold
from .label_settings import learns


class BiGRUTokenTagger(SequenceTagger):
    """Part-of-speech tagger. A subclass can set `task` to predict another token attribute."""

    task: ClassVar[TokenTask] = TAGS

    def __init__(
        self,
        vocab: Vocab,
        model: Model[list[Doc], list[Floats2d]],
        name: str = "bigru_tagger",
        *,
        overwrite: bool = True,
        label_smoothing: float = 0.0,
        label_weights: Mapping[str, float] | None = None,
        labels: Sequence[str] | None = None,
        scorer: Scorer | None = None,
    ) -> None:
        """Initialize the component.

        vocab (Vocab): the shared vocabulary.
        model (Model[list[Doc], list[Floats2d]]): maps Docs to logits, (n_tokens, n_tags) each.
        name (str): name of the component.
        overwrite (bool): see `make_bigru_tagger`.
        label_smoothing (float): see `make_bigru_tagger`.
        label_weights (Mapping[str, float] | None): see `make_bigru_tagger`.
        labels (Sequence[str] | None): see `make_bigru_tagger`.
        scorer (Callable | None): the scoring method.
        """
        super().__init__(
            vocab,
            model,
            name,
            scorer=scorer,
            label_smoothing=label_smoothing,
            label_weights=label_weights,
            learned_labels=labels,
            overwrite=overwrite,
        )

    @property
    def tags(self) -> list[str]:
        """RETURNS (list[str]): the labels."""
        return list(self.labels)

    @property
    def valid_transitions(self) -> Transitions:
        """RETURNS (Transitions): any tag can follow any other."""
        return Transitions.free(len(self.labels))

    def find_labels(self, example: Example) -> Iterable[str]:
        """See `SequenceTagger.find_labels`."""
        return [span.label_ for span in self.task.stored(example.reference)]

    def annotated_labels(self, example: Example) -> Collection[str] | None:
        """See `SequenceTagger.annotated_labels`."""
        return self.task.annotated_labels(example.reference)

    def gold_tags(self, example: Example) -> Gold:
        """See `SequenceTagger.gold_tags`."""
        tags = example.get_aligned(self.task.attribute, as_string=True)
        return [tag if tag and learns(self.cfg, tag) else None for tag in tags]

    @stage(DECODE)
    def decode(self, docs: Sequence[Doc], logits: Array) -> list[np.ndarray]:
        """Find the most probable tag sequence.

        docs (Sequence[Doc]): the Docs, which are not modified.
        logits (Array): see `SequenceTagger.decode`.
        RETURNS (list[ndarray]): indices into `labels` for each Doc, int64 (n_tokens,).
        """
        tags = to_numpy(self.best_tags(docs, logits))
        return np.split(tags, np.cumsum([len(doc) for doc in docs]))[:-1]

    @stage(ANNOTATE)
    def set_annotations(self, docs: Iterable[Doc], predictions: list[np.ndarray]) -> None:
        """Write the tags to the tokens.

        docs (Iterable[Doc]): the Docs, which are modified.
        predictions (list[ndarray]): the predictions of `predict`, one array per Doc.
        """
        hashes = np.array([self.vocab.strings[label] for label in self.labels], dtype=np.uint64)
        for doc, columns in zip(docs, predictions, strict=True):
            if not len(doc):
                continue
            tags = hashes[columns]
            if not self.cfg["overwrite"]:
                existing = doc.to_array(self.task.attribute).reshape(-1)
                tags = np.where(existing == 0, tags, existing)
            doc.from_array([self.task.attribute], tags[:, None])
