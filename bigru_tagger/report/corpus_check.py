"""Check annotated corpora before training: counts, errors, warnings and notes."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from spacy.tokens import Doc, Span
from spacy.training import Example

from ..corpus.sentences import sentence_starts
from ..pipeline.gold import Gold, correct_gold
from ..schemes import OUTSIDE, span_tags
from ..scoring.scoring import same_words
from ..tasks import ENTITIES, Task, annotated_tasks
from .matching import Match, MatchedDoc, Mention
from .surface_forms import NONE, SurfaceForm, find_surface_forms, inconsistent

Level = Literal["error", "warning", "note"]
LEVELS: tuple[Level, ...] = ("error", "warning", "note")

N_CASES = 5  # number of cases to show for each finding
_Annotation = frozenset[tuple[str, int, int, str]]  # layer, start, end, label
_LONG = 10  # tokens; a Doc with as many is hardly repeated by chance
_ESTIMATED = (
    "the pipeline estimates them from punctuation. To give them, use column files or rows of "
    "tokens, or put a senter before the component"
)


@dataclass(frozen=True)
class Finding:
    """An error, warning or note on a corpus.

    level (Level): "error" if training would fail or learn wrong labels, "warning" if scores would
        be lower or misleading, "note" otherwise.
    text (str): the description.
    split (str): the name of the split; "" for all splits together.
    layer (str): the name of a task or a key of `doc.spans`; "" if it concerns no layer.
    count (int): number of occurrences.
    cases (list[str]): descriptions of some or all occurrences.
    """

    level: Level
    text: str
    split: str = ""
    layer: str = ""
    count: int = 1
    cases: list[str] = field(default_factory=list)


@dataclass
class LayerCounts:
    """Counts of one layer of annotation in one split.

    documents (int): number of Docs with this layer.
    without (int): number of these Docs that have no span.
    labels (Counter[str]): number of spans, or of tagged tokens, by label.
    unknown (int): number of tokens in these Docs that are not annotated.
    longest (int): length of the longest span in tokens.
    longest_text (str): the text of the longest span.
    """

    documents: int = 0
    without: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    unknown: int = 0
    longest: int = 0
    longest_text: str = ""


@dataclass
class SplitCounts:
    """Counts of one split.

    documents (int): number of Docs.
    empty (int): number of Docs without tokens.
    sentences (int): number of sentences; a Doc without sentence starts counts as one.
    tokens (int): number of tokens.
    longest_document, longest_sentence (int): their lengths in tokens.
    layers (dict[str, LayerCounts]): the counts of each layer.
    """

    documents: int = 0
    empty: int = 0
    sentences: int = 0
    tokens: int = 0
    longest_document: int = 0
    longest_sentence: int = 0
    layers: dict[str, LayerCounts] = field(default_factory=dict)


@dataclass(frozen=True)
class CorpusCheck:
    """The result of `check_corpus`.

    splits (dict[str, SplitCounts]): the counts of each split.
    findings (list[Finding]): errors, then warnings, then notes.
    """

    splits: dict[str, SplitCounts]
    findings: list[Finding]

    def level(self, level: Level) -> list[Finding]:
        """List the findings of one level.

        level (Level): the level.
        RETURNS (list[Finding]): the findings.
        """
        return [finding for finding in self.findings if finding.level == level]

    def to_json(self) -> dict[str, Any]:
        """Return the check as JSON-serialisable values.

        RETURNS (dict[str, Any]): splits and findings.
        """
        # `asdict` does not copy a Counter correctly.
        splits = {
            name: {**vars(split), "layers": {key: vars(n) for key, n in split.layers.items()}}
            for name, split in self.splits.items()
        }
        return {"splits": splits, "findings": [asdict(finding) for finding in self.findings]}


def check_corpus(splits: Mapping[str, Iterable[Example]], *, rare: int = 50) -> CorpusCheck:
    """Check the splits of a corpus.

    splits (Mapping[str, Iterable[Example]]): the examples of each split. Each is iterated once. The
        training split is "train", or the first split if there is no "train".
    rare (int): a label with fewer spans in the training split is reported.
    RETURNS (CorpusCheck): counts and findings.
    """
    checks = {}
    for name, examples in splits.items():
        checks[name] = _SplitCheck(name)
        checks[name].read(examples)
    train = "train" if "train" in checks else next(iter(checks), "")
    findings = [finding for check in checks.values() for finding in check.findings()]
    if train in checks:
        findings += _label_findings(checks, train, rare)
        findings += _shared_documents(checks, train)
    findings += _surface_findings(checks)
    findings.sort(key=lambda finding: LEVELS.index(finding.level))
    return CorpusCheck({name: check.counts for name, check in checks.items()}, findings)


class _SplitCheck:
    """Count one split, and store what the comparison with other splits needs."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.counts = SplitCounts()
        self.docs: dict[str, list[MatchedDoc]] = defaultdict(list)  # by layer
        self.numbers: dict[tuple[str, ...], list[int]] = defaultdict(list)  # of Docs by words
        self._annotations: dict[tuple[str, ...], list[_Annotation]] = defaultdict(list)
        self._cases: dict[tuple[Level, str, str, str], list[str]] = defaultdict(list)
        self._failure: str | None = None
        self._unset = 0  # Docs without sentence starts
        self._not_passed_on = 0  # Docs whose sentence starts only the gold Doc has

    def read(self, examples: Iterable[Example]) -> None:
        """Read all examples. An error of the reader ends the split, and becomes a finding."""
        try:
            for example in examples:
                self._add(example)
        except (OSError, ValueError) as error:
            self._failure = str(error)

    def _add(self, example: Example) -> None:
        counts, doc = self.counts, example.reference
        counts.documents += 1
        number = counts.documents
        if not len(doc):
            counts.empty += 1
            self._case("warning", "", "Doc", "without tokens", f"Doc {number}")
            return
        starts = sentence_starts(doc)
        if not example.predicted.has_annotation("SENT_START"):
            self._unset += not doc.has_annotation("SENT_START")
            self._not_passed_on += len(starts) > 1
        ends = [*starts[1:], len(doc)]
        counts.sentences += len(starts)
        counts.tokens += len(doc)
        counts.longest_document = max(counts.longest_document, len(doc))
        longest = max(end - start for start, end in zip(starts, ends, strict=True))
        counts.longest_sentence = max(counts.longest_sentence, longest)
        annotation = frozenset(
            (task.name, span.start, span.end, span.label_)
            for task in annotated_tasks(doc)
            for span in self._add_layer(number, example, task)
        )
        words = tuple(token.text for token in doc)
        self.numbers[words].append(number)
        self._annotations[words].append(annotation)

    def _add_layer(self, number: int, example: Example, task: Task) -> list[Span]:
        doc, layer = example.reference, task.name
        counts = self.counts.layers.setdefault(layer, LayerCounts())
        counts.documents += 1
        try:
            spans = task.spans(doc)
        except ValueError:
            text = (
                "with overlapping spans: one tagger cannot learn them, but `spancat`, or a tagger "
                "for each layer (see the configs `spancat` and `nested`)"
            )
            self._case("error", layer, "Doc", text, _place(number, doc))
            return []
        unknown = task.unknown_tokens(doc)
        counts.without += not spans
        counts.unknown += int(unknown.sum())
        counts.labels.update(span.label_ for span in spans)
        if task.per_token:
            return spans
        for span in spans:
            if len(span) > counts.longest:
                counts.longest, counts.longest_text = len(span), span.text
            if not span.label_:
                self._case("error", layer, "span", "without a label", _place(number, doc, span))
        self._check_findable(number, example, layer, spans)
        mentions = [
            Match(Mention(span.start, span.end, span.label_, " ".join(t.text for t in span)), None)
            for span in spans
        ]
        words = [token.text for token in doc]
        missing = frozenset(unknown.nonzero()[0].tolist())
        self.docs[layer].append(MatchedDoc(number, words, [], [], missing, mentions))
        return spans

    def _check_findable(
        self, number: int, example: Example, layer: str, spans: Sequence[Span]
    ) -> None:
        doc = example.predicted
        if not same_words(example):
            aligned = []
            for span in spans:
                parts = example.get_aligned_spans_y2x([span])
                aligned += parts
                if not parts:
                    text = "not aligned with the tokens of the tokenizer: not learned"
                    self._case(
                        "warning", layer, "span", text, _place(number, example.reference, span)
                    )
            spans = aligned
        elif not doc.has_annotation("SENT_START"):
            doc = example.reference
        tags: Gold = [OUTSIDE] * len(doc)
        for span in spans:
            tags[span.start : span.end] = span_tags(span.label_, span.end - span.start)
        texts = {
            "space": "with white space at an end: learned without it, and so scored as missing",
            "sentence": "across a sentence start: never predicted",
        }
        for correction in correct_gold(tags, doc, cut_at_sentences=True)[1]:
            case = _place(number, doc, doc[correction.start : correction.end], correction.label)
            self._case("warning", layer, "span", texts[correction.problem], case)

    def _case(self, level: Level, layer: str, noun: str, text: str, case: str) -> None:
        self._cases[level, layer, noun, text].append(case)

    def findings(self) -> Iterator[Finding]:
        """List the findings that concern this split only.

        YIELDS (Finding): the findings.
        """
        counts, name = self.counts, self.name
        if self._failure is not None:
            yield Finding("error", f"cannot be read completely: {self._failure}", name)
        elif not counts.tokens:
            yield Finding("error", "has no tokens", name)
        elif not counts.layers:
            yield Finding("error", "has no entities, spans or tags: nothing to learn", name)
        for (level, layer, noun, text), cases in self._cases.items():
            n = len(cases)
            yield Finding(level, f"{_count(n, noun)} {text}", name, layer, n, cases)
        if self._unset:
            text = f"{_count(self._unset, 'Doc')} without sentence starts: {_ESTIMATED}"
            yield Finding("warning", text, name, "", self._unset)
        if self._not_passed_on:
            n = self._not_passed_on
            text = f"{_count(n, 'Doc')} whose sentence starts the reader leaves out: {_ESTIMATED}"
            yield Finding("warning", text, name, "", n)
        full = counts.documents - counts.empty
        for layer, annotated in counts.layers.items():
            if annotated.documents < full:
                n = full - annotated.documents
                yield Finding("note", f"{_count(n, 'Doc')} without this annotation", name, layer, n)
            if annotated.unknown:
                n = annotated.unknown
                text = f"{_count(n, 'token')} not annotated: nothing is learned from them"
                yield Finding("note", text, name, layer, n)
            if not annotated.labels:
                yield Finding("warning", "is annotated, but has no labels", name, layer)
        yield from self._repetitions()

    def _repetitions(self) -> Iterator[Finding]:
        repeated = {words: numbers for words, numbers in self.numbers.items() if len(numbers) > 1}
        n = sum(len(numbers) - 1 for numbers in repeated.values())
        if n:
            text = (
                f"{_count(n, 'Doc')} repeated from earlier in this split{_how_many_long(repeated)}"
            )
            yield Finding("note", text, self.name, "", n, list(_longest(repeated).values()))
        cases = [
            f"{case} differs in {differences}"
            for words, case in _longest(repeated).items()
            if (differences := self._differences(words))
        ]
        if cases:
            text = f"{_count(len(cases), 'text')} repeated with different annotation"
            yield Finding("warning", text, self.name, "", len(cases), cases)

    def _differences(self, words: tuple[str, ...]) -> str:
        annotations = self._annotations[words]
        several = sorted(frozenset.union(*annotations) - frozenset.intersection(*annotations))
        return ", ".join(
            f"{' '.join(words[start:end])!r} ({label})" for _, start, end, label in several[:4]
        )


def _label_findings(checks: Mapping[str, _SplitCheck], train: str, rare: int) -> Iterator[Finding]:
    trained = checks[train].counts.layers
    for layer, counts in trained.items():
        few = sorted((n, label) for label, n in counts.labels.items() if n < rare)
        if few:
            cases = [f"{label} ({n})" for n, label in few]
            text = f"{_count(len(few), 'label')} with fewer than {rare} occurrences"
            yield Finding("warning", text, train, layer, len(few), cases)
    for name, check in checks.items():
        if name == train:
            continue
        for layer, counts in check.counts.layers.items():
            known = trained[layer].labels if layer in trained else Counter[str]()
            new = sorted(counts.labels.keys() - known.keys())
            if new:
                n = sum(counts.labels[label] for label in new)
                text = f"{_count(len(new), 'label')} absent from {train}: never predicted"
                cases = [f"{label} ({counts.labels[label]})" for label in new]
                yield Finding("warning", text, name, layer, n, cases)
            absent = sorted(known.keys() - counts.labels.keys())
            if absent:
                text = f"{_count(len(absent), 'label')} of {train} absent: not scored"
                cases = [f"{label} ({known[label]} in {train})" for label in absent]
                yield Finding("note", text, name, layer, len(absent), cases)


def _shared_documents(checks: Mapping[str, _SplitCheck], train: str) -> Iterator[Finding]:
    seen = checks[train].numbers
    for name, check in checks.items():
        shared = {words: numbers for words, numbers in check.numbers.items() if words in seen}
        n = sum(map(len, shared.values()))
        if n and name != train:
            long, cases = _how_many_long(shared), list(_longest(shared).values())
            text = f"{_count(n, 'Doc')} also in {train}{long}"
            yield Finding("warning" if long else "note", text, name, "", n, cases)


def _surface_findings(checks: Mapping[str, _SplitCheck]) -> Iterator[Finding]:
    layers = dict.fromkeys(layer for check in checks.values() for layer in check.docs)
    for layer in layers:
        docs = [doc for check in checks.values() for doc in check.docs[layer]]
        forms = inconsistent(find_surface_forms(docs), "gold")
        several = [form for form in forms if len(form.gold.keys() - {NONE}) > 1]
        if several:
            text = f"{_count(len(several), 'text')} with several labels"
            yield Finding("note", text, "", layer, len(several), list(map(_describe, several)))
        # Not for chunks: they cover nearly all text, so the same words are often a part of a longer
        # chunk.
        partly = [form for form in forms if len(form.gold) == 2 and NONE in form.gold]
        if partly and layer == ENTITIES.name:
            text = f"{_count(len(partly), 'text')} annotated in one place and not in another"
            yield Finding("note", text, "", layer, len(partly), list(map(_describe, partly)))


def _describe(form: SurfaceForm) -> str:
    return f"{form.text}: {', '.join(f'{label} {n}' for label, n in form.gold.most_common())}"


def _place(number: int, doc: Doc, span: Span | None = None, label: str = "") -> str:
    if span is None:
        return f"Doc {number}: {_shorten(doc.text)}"
    context = doc[max(span.start - 3, 0) : span.end + 3].text
    return f"Doc {number}: {span.text!r} ({label or span.label_}) in {_shorten(context)}"


def _shorten(text: str) -> str:
    return repr(text if len(text) <= 80 else f"{text[:77]}...")


def _how_many_long(texts: Iterable[tuple[str, ...]]) -> str:
    n = sum(len(words) >= _LONG for words in texts)
    return f" ({_count(n, 'different text')} of {_LONG} tokens or more)" if n else ""


def _longest(texts: Mapping[tuple[str, ...], list[int]]) -> dict[tuple[str, ...], str]:
    # Descriptions by text, the longest text first.
    return {
        words: f"Docs {', '.join(map(str, texts[words][:5]))}: {_shorten(' '.join(words))}"
        for words in sorted(texts, key=len, reverse=True)
    }


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"
