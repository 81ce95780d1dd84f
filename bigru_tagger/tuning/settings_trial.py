"""Try settings of a component on gold data, with one run of its network."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from spacy.language import Language
from spacy.training import Example

from ..errors import ConfigError
from ..pipeline.spans import Entity, SpanTagger
from ..report.calibration import SpanOutcomes
from ..schemes import biluo_spans
from ..scoring.loading import run_before
from ..scoring.run import bare_copy


def find_span_tagger(nlp: Language, name: str | None) -> tuple[str, SpanTagger]:
    """Find a component that finds spans.

    nlp (Language): the pipeline.
    name (str | None): its name. None for the only one, or for "ner" among several.
    RETURNS (tuple[str, SpanTagger]): its name, and the component.
    RAISES (ConfigError): there is no such component.
    """
    found = {name: pipe for name, pipe in nlp.pipeline if isinstance(pipe, SpanTagger)}
    if name is None:
        name = next(iter(found)) if len(found) == 1 else "ner"
    if name not in found:
        raise ConfigError(
            f"the pipeline has no component {name!r} of bigru_ner or bigru_chunker; it has "
            f"{', '.join(found) or 'none'}: set --component to one of them"
        )
    return name, found[name]


class SettingsTrial:
    """Find the spans of a component in gold data with any of its settings for prediction.

    The network runs once. The settings of the component do not change.
    """

    def __init__(self, nlp: Language, name: str | None, examples: Iterable[Example]) -> None:
        """Run the pipeline up to the component.

        nlp (Language): the pipeline.
        name (str | None): a component that finds spans, see `find_span_tagger`.
        examples (Iterable[Example]): the gold data. The pipeline gets the sentence starts of
            `predicted`, and no gold annotation.
        RAISES (ConfigError): there is no such component.
        """
        name, pipe = find_span_tagger(nlp, name)
        self.pipe = pipe
        self.examples = list(examples)
        self._docs = run_before(nlp, name, [bare_copy(nlp, eg) for eg in self.examples])
        self._logits = np.concatenate(
            [np.zeros((0, len(pipe.tags)), dtype=np.float32)]
            + [
                logits
                for start in range(0, len(self._docs), nlp.batch_size)
                for logits in pipe.logits(self._docs[start : start + nlp.batch_size])
            ]
        )
        copies = zip(self._docs, self.examples, strict=True)
        self._tags = [pipe.gold_tags(Example(doc, eg.reference)) for doc, eg in copies]
        self.gold = [
            {(start, end, label) for label, start, end in biluo_spans(tags)} for tags in self._tags
        ]

    def find(self, **settings: Any) -> list[list[Entity]]:
        """Find spans with changed settings.

        **settings (Any): settings of the component, such as `recall_bias` and `temperature`.
        RETURNS (list[list[Entity]]): the spans of each Doc with their probabilities, without a
            threshold, and without those on tokens whose gold tag is not known.
        """
        with self.pipe.changed_settings(**settings):
            predicted = self.pipe.find_spans(self._docs, self._logits, with_probabilities=True)
        return [
            [span for span in spans if None not in tags[span.start : span.end]]
            for spans, tags in zip(predicted, self._tags, strict=True)
        ]

    def judge(self, found: Sequence[Sequence[Entity]]) -> SpanOutcomes:
        """Compare spans with the gold spans.

        found (Sequence[Sequence[Entity]]): the spans of each Doc, from `find`.
        RETURNS (SpanOutcomes): their probabilities, and whether they are correct.
        """
        outcomes = [
            (span.probability, span[:3] in gold)
            for spans, gold in zip(found, self.gold, strict=True)
            for span in spans
        ]
        probability, correct = zip(*outcomes, strict=True) if outcomes else ((), ())
        return SpanOutcomes(np.array(probability, dtype=float), np.array(correct, dtype=bool))
