"""What `bigru-tagger evaluate` does: run a pipeline over gold data, count, print, write files."""

import json
import os
import platform
import shlex
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from itertools import starmap
from pathlib import Path
from typing import Annotated, Any, TextIO

import numpy as np
import spacy
import typer
from seqeval.reporters import StringReporter
from spacy.language import Language
from spacy.scorer import Scorer
from spacy.tokens import Doc
from spacy.training import Example
from thinc.api import require_gpu
from tqdm import tqdm
from wasabi.tables import table

from .corpus import SentenceReader, open_corpus
from .scoring import (
    Counts,
    count_tagged,
    is_annotated,
    micro_counts,
    tag_example,
    tag_examples,
)

WARM_UP_DOCS = 8  # enough to load kernels and fill first caches, too few to matter in time
DIGITS = 4
PACKAGES = ("bigru-tagger", "spacy", "thinc", "torch", "seqeval", "datasets", "numpy")


@dataclass(frozen=True)
class Average:
    """An average over types, by seqeval's definitions. Support is the number of gold entities."""

    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class SpanReport:
    """Counts of entities or chunks per type, as seqeval reads them from IOB2 tags.

    default (dict[str, Counts]): in seqeval's default mode, which is conlleval's reading.
    strict (dict[str, Counts]): in its strict mode with the scheme IOB2.
    """

    default: dict[str, Counts]
    strict: dict[str, Counts]

    def to_json(self) -> dict[str, Any]:
        """Give all numbers per mode: `per_type`, and the micro, macro and weighted `averages`."""
        return {
            mode: {
                "per_type": {label: _numbers(counts) for label, counts in per_type.items()},
                "micro": _numbers(micro_counts(per_type)),
                "macro": asdict(_macro(per_type)),
                "weighted": asdict(_weighted(per_type)),
            }
            for mode, per_type in (("default", self.default), ("strict", self.strict))
        }


@dataclass(frozen=True)
class Evaluation:
    """The numbers of one evaluation.

    model, data, split (str): what was evaluated, in the caller's words.
    pipes (tuple[str, ...]): names of the components that ran.
    documents, tokens (int): the size of the gold data.
    seconds (float): what `nlp.pipe` took over them, after a warm-up.
    entities (SpanReport | None): `doc.ents`, `None` where the gold data have no entities or no
        component sets them. So, too, the other scores:
    chunks (SpanReport | None): `doc.spans[spans_key]`.
    tag_accuracy (float | None): `token.tag`, as spaCy's scorer counts it.
    versions (dict[str, str]): of Python and of the packages that the numbers depend on.
    examples (tuple[Example, ...]): the predictions beside their references.
    """

    model: str
    pipes: tuple[str, ...]
    data: str
    split: str
    documents: int
    tokens: int
    seconds: float
    entities: SpanReport | None
    spans_key: str
    chunks: SpanReport | None
    tag_accuracy: float | None
    versions: dict[str, str]
    examples: tuple[Example, ...] = field(repr=False, compare=False)

    @property
    def words_per_second(self) -> float:
        """Tokens per second of `nlp.pipe`."""
        return self.tokens / self.seconds

    def to_json(self) -> dict[str, Any]:
        """Give all numbers as JSON-serialisable values."""
        return {
            "model": self.model,
            "pipes": list(self.pipes),
            "data": self.data,
            "split": self.split,
            "documents": self.documents,
            "tokens": self.tokens,
            "seconds": self.seconds,
            "words_per_second": self.words_per_second,
            "entities": self.entities.to_json() if self.entities else None,
            "spans_key": self.spans_key,
            "chunks": self.chunks.to_json() if self.chunks else None,
            "tag_accuracy": self.tag_accuracy,
            "versions": self.versions,
        }


def evaluate(
    nlp: Language,
    examples: Iterable[Example],
    *,
    spans_key: str = "chunks",
    batch_size: int | None = None,
    model: str = "",
    data: str = "",
    split: str = "",
) -> Evaluation:
    """Run a pipeline over gold data and score all that both of them hold.

    The pipeline gets new documents with the tokens of the references and nothing else, so its
    tokeniser has no part in the scores, and no gold annotation can reach it.

    nlp (Language): the pipeline, with any components.
    examples (Iterable[Example]): the gold data; only the references are read.
    spans_key (str): where chunks are, in `doc.spans`.
    batch_size (int | None): documents per batch; `None` takes the pipeline's.
    model, data, split (str): names for the report; the model's defaults to the pipeline's own.
    RETURNS (Evaluation): the numbers and the predictions.
    RAISES (ValueError): there are no examples with tokens, or gold data and predictions have no
        annotation in common.
    """
    references = [eg.reference for eg in examples]
    if not any(map(len, references)):
        raise ValueError("There are no gold examples with tokens: check the data and the split.")
    predictions, seconds = _predict(nlp, references, batch_size)
    predicted = tuple(starmap(Example, zip(predictions, references, strict=True)))
    layers = _common_layers(references, predictions, spans_key, nlp.pipe_names)
    tag_scores = Scorer.score_token_attr(predicted, "tag") if "tags" in layers else {}
    return Evaluation(
        model=model or f"{nlp.meta['lang']}_{nlp.meta['name']}",
        pipes=tuple(nlp.pipe_names),
        data=data,
        split=split,
        documents=len(references),
        tokens=sum(map(len, references)),
        seconds=seconds,
        entities=_report(predicted) if "entities" in layers else None,
        spans_key=spans_key,
        chunks=_report(predicted, spans_key) if "spans" in layers else None,
        tag_accuracy=tag_scores.get("tag_acc"),
        versions={name: version(name) for name in PACKAGES} | {"python": platform.python_version()},
        examples=predicted,
    )


def render(evaluation: Evaluation) -> str:
    """Lay an evaluation out as text: a header, then seqeval's reports and the counts.

    evaluation (Evaluation): the numbers.
    RETURNS (str): the text that the command prints.
    """
    source = (
        f"{evaluation.data} (split {evaluation.split})" if evaluation.split else evaluation.data
    )
    header = {
        "model": evaluation.model,
        "pipes": ", ".join(evaluation.pipes),
        "data": source,
        "documents": evaluation.documents,
        "tokens": evaluation.tokens,
        "words/s": f"{evaluation.words_per_second:.0f}",
    }
    if evaluation.tag_accuracy is not None:
        header["tag accuracy"] = f"{evaluation.tag_accuracy:.{DIGITS}f}"
    width = max(map(len, header))
    blocks = ["\n".join(f"{name:<{width}}  {value}" for name, value in header.items())]
    for name, report in (
        ("Entities", evaluation.entities),
        (f"Chunks in doc.spans[{evaluation.spans_key!r}]", evaluation.chunks),
    ):
        if report is not None:
            blocks += [
                f"{name}, seqeval's default mode (as conlleval)",
                _render_scores(report.default),
                f"{name}, seqeval's strict mode (IOB2)",
                _render_scores(report.strict),
                f"{name}, counted (default mode)",
                _render_counts(report.default),
            ]
    return "\n\n".join(blocks)


def write_predictions(
    path: str | Path, examples: Iterable[Example], *, spans_key: str | None = None
) -> None:
    """Write the columns `token gold predicted` in IOB2, as conlleval reads them.

    Sentences, by the reference's sentence starts where it has them and else whole documents, are
    followed by a blank line. An entity, gold or predicted, that runs across a sentence start keeps
    its sentences together, so conlleval counts on the file what `evaluate` counts. Documents
    without gold annotation are left out. White space within a column is written as "␣".

    path (str | Path): the file, replaced only when all is written.
    examples (Iterable[Example]): predictions beside their references, `Evaluation.examples`.
    spans_key (str | None): write `doc.spans[spans_key]`; `None` writes `doc.ents`.
    RAISES (ValueError): see `tag_example`.
    RAISES (OSError): the file cannot be written.
    """
    with _replacing(Path(path)) as file:
        for eg in examples:
            doc = tag_example(eg, spans_key=spans_key)
            if doc is None:
                continue
            starts = {token.i for token in eg.reference if token.i and token.is_sent_start}
            for i, (word, gold, predicted) in enumerate(zip(*doc, strict=True)):
                if i in starts and not gold.startswith("I-") and not predicted.startswith("I-"):
                    file.write("\n")
                file.write(f"{_column(word)} {_column(gold)} {_column(predicted)}\n")
            file.write("\n")


def load_pipeline(model: str, *, gpu_id: int = -1, device: str | None = None) -> Language:
    """Load a pipeline for evaluation.

    model (str): a folder, or the name of an installed package.
    gpu_id (int): the GPU that all components use through CuPy, as in spaCy's commands; -1 for none.
    device (str | None): the device, such as "cuda:0", for the components that have a setting
        `device` in their config; they use it through torch alone.
    RETURNS (Language): the pipeline.
    RAISES (ValueError): there is no such GPU, no such setting, or the pipeline cannot be loaded.
    """
    if gpu_id >= 0:
        require_gpu(gpu_id)
    nlp = _load(model, {})
    if device is None:
        return nlp
    overrides = [f"components.{path}" for path in _settings("device", nlp.config["components"])]
    if not overrides:
        raise ValueError(
            f"No component of {model} ({', '.join(nlp.pipe_names)}) has a setting `device`: use "
            "--gpu-id, which moves all components."
        )
    return _load(model, dict.fromkeys(overrides, device))


def evaluate_command(
    model: Annotated[
        str, typer.Argument(help="A pipeline: a folder (output/model-best) or a package's name.")
    ],
    data: Annotated[
        str,
        typer.Argument(
            help="Gold data: a dataset of the Hugging Face hub, a folder, a column file or .spacy."
        ),
    ],
    *,
    split: Annotated[str, typer.Option(help="The split of a dataset.")] = "test",
    json_path: Annotated[
        Path | None, typer.Option("--json", help="Write all numbers to this file.", dir_okay=False)
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option(
            help="Write the columns token, gold, predicted to this file, for conlleval: of "
            "entities, or of chunks where there are no entities.",
            dir_okay=False,
        ),
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Documents per batch; else the pipeline's.", min=1)
    ] = None,
    n_sents: Annotated[
        int | None, typer.Option(help="Sentences per document; else the reader's.", min=0)
    ] = None,
    spans_key: Annotated[str, typer.Option(help="Where chunks are, in doc.spans.")] = "chunks",
    device: Annotated[
        str | None, typer.Option(help="torch device of the components that have a `device`.")
    ] = None,
    gpu_id: Annotated[int, typer.Option(help="GPU of all components, by CuPy; -1: none.")] = -1,
) -> None:
    """Score a spaCy pipeline on gold data with seqeval."""
    try:
        nlp = load_pipeline(model, gpu_id=gpu_id, device=device)
        evaluation = evaluate(
            nlp,
            _read_gold(nlp, data, split=split, n_sents=n_sents, spans_key=spans_key),
            spans_key=spans_key,
            batch_size=batch_size,
            model=model,
            data=data,
            split=split,
        )
        typer.echo(render(evaluation))
        if json_path is not None:
            with _replacing(json_path) as file:
                content = {"command": shlex.join(sys.argv), **evaluation.to_json()}
                file.write(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
        if predictions is not None:
            if evaluation.entities is None and evaluation.chunks is None:
                raise ValueError("--predictions: there are only tags, not entities or chunks.")
            write_predictions(
                predictions,
                evaluation.examples,
                spans_key=spans_key if evaluation.entities is None else None,
            )
    except (OSError, ValueError) as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from error


def main() -> None:
    """Run the command by itself."""
    typer.run(evaluate_command)


def _read_gold(
    nlp: Language, data: str, *, split: str, n_sents: int | None, spans_key: str
) -> Iterable[Example]:
    options = {} if n_sents is None else {"sentences_per_doc": n_sents}
    try:
        corpus = open_corpus(data, split=split, **options)
    except TypeError as error:  # a .spacy file has its documents already
        raise ValueError(f"--n-sents: {error}") from error
    # A reader makes the spans; those of a .spacy file are where they are.
    if isinstance(corpus, SentenceReader):
        corpus.spans_key = spans_key
    return corpus(nlp)


def _predict(
    nlp: Language, references: Sequence[Doc], batch_size: int | None
) -> tuple[list[Doc], float]:
    """Run the pipeline over the references' tokens. RETURNS: predictions, seconds."""
    warm_up = [_bare_copy(nlp, doc) for doc in references[:WARM_UP_DOCS]]
    docs = [_bare_copy(nlp, doc) for doc in references]
    for _ in nlp.pipe(warm_up, batch_size=batch_size):
        pass
    start = time.perf_counter()
    # `disable=None`: no bar where standard error is not a terminal.
    progress = tqdm(total=len(docs), unit="doc", disable=None)
    predictions = []
    with progress:
        for doc in nlp.pipe(docs, batch_size=batch_size):
            predictions.append(doc)
            progress.update()
    return predictions, time.perf_counter() - start


def _bare_copy(nlp: Language, doc: Doc) -> Doc:
    spaces = None if doc.has_unknown_spaces else [bool(token.whitespace_) for token in doc]
    return Doc(nlp.vocab, words=[token.text for token in doc], spaces=spaces)


def _common_layers(
    references: Sequence[Doc], predictions: Sequence[Doc], spans_key: str, pipes: Sequence[str]
) -> set[str]:
    """Find what gold data and predictions both hold. RAISES (ValueError): nothing."""
    predicted = {
        "entities": any(map(is_annotated, predictions)),
        "tags": any(_has_tags(doc) for doc in predictions),
        "spans": any(is_annotated(doc, spans_key) for doc in predictions),
    }
    # Where no entity is gold, recall has no meaning: nothing but outside tags is no gold data.
    gold = {
        "entities": any(doc.ents for doc in references),
        "tags": any(_has_tags(doc) for doc in references),
        "spans": any(doc.spans.get(spans_key) for doc in references),
    }
    held = [{layer for layer, present in side.items() if present} for side in (gold, predicted)]
    if not held[0] & held[1]:
        what = [" and ".join(sorted(layers)) or "nothing to score" for layers in held]
        raise ValueError(
            f"The gold data hold {what[0]}, the pipeline ({', '.join(pipes) or 'no components'}) "
            f"gives {what[1]}. Both must hold entities (doc.ents), tags (token.tag) or spans "
            f"(doc.spans[{spans_key!r}]): check the model, the data and its split, and --spans-key."
        )
    return held[0] & held[1]


def _has_tags(doc: Doc) -> bool:
    return len(doc) > 0 and doc.has_annotation("TAG")


def _report(examples: Iterable[Example], spans_key: str | None = None) -> SpanReport:
    docs = tag_examples(examples, spans_key=spans_key)
    return SpanReport(count_tagged(docs), count_tagged(docs, mode="strict"))


def _macro(per_type: Mapping[str, Counts]) -> Average:
    return _average(per_type, weights=None)


def _weighted(per_type: Mapping[str, Counts]) -> Average:
    return _average(per_type, weights=[counts.gold for counts in per_type.values()])


def _average(per_type: Mapping[str, Counts], weights: list[int] | None) -> Average:
    rows = [(counts.precision, counts.recall, counts.f1) for counts in per_type.values()]
    precision, recall, f1 = (
        float(np.average(column, weights=weights)) for column in zip(*rows, strict=True)
    )
    return Average(precision, recall, f1, micro_counts(per_type).gold)


def _numbers(counts: Counts) -> dict[str, float]:
    return {
        "precision": counts.precision,
        "recall": counts.recall,
        "f1": counts.f1,
        "support": counts.gold,
        "predicted": counts.predicted,
        "correct": counts.correct,
    }


def _render_scores(per_type: Mapping[str, Counts]) -> str:
    """Format as seqeval's `classification_report` does, without counting all over again."""
    width = max(len("weighted avg"), *map(len, per_type))
    reporter = StringReporter(width=width, digits=DIGITS)
    for label, counts in per_type.items():
        reporter.write(label, counts.precision, counts.recall, counts.f1, counts.gold)
    reporter.write_blank()
    micro = micro_counts(per_type)
    reporter.write("micro avg", micro.precision, micro.recall, micro.f1, micro.gold)
    for name, row in (("macro", _macro(per_type)), ("weighted", _weighted(per_type))):
        reporter.write(f"{name} avg", row.precision, row.recall, row.f1, row.support)
    return str(reporter.report())


def _render_counts(per_type: Mapping[str, Counts]) -> str:
    rows = [*per_type.items(), ("all", micro_counts(per_type))]
    return table(
        [(label, counts.gold, counts.predicted, counts.correct) for label, counts in rows],
        header=("", "gold", "predicted", "correct"),
        aligns=("r", "r", "r", "r"),
    ).strip("\n")


def _column(text: str) -> str:
    text = "".join("␣" if char.isspace() else char for char in text)
    # conlleval takes this token, and its tags, for a sentence boundary.
    return f"{text}␣" if text == "-X-" else text


@contextmanager
def _replacing(path: Path) -> Iterator[TextIO]:
    """Open a file beside `path` that takes its place once all is written."""
    path = path.resolve()  # a link keeps its place, its target is replaced
    if path.exists() and not path.is_file():  # /dev/stdout, say, must not be replaced
        with path.open("w", encoding="utf-8") as file:
            yield file
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with partial.open("w", encoding="utf-8", newline="\n") as file:
            yield file
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _load(model: str, overrides: Mapping[str, Any]) -> Language:
    try:
        return spacy.load(model, config=dict(overrides))
    except (OSError, ImportError, ValueError) as error:
        raise ValueError(
            f"Cannot load {model!r} as a spaCy pipeline. Expected is a folder with config.cfg and "
            "meta.json, as `spacy train` writes output/model-best, or the name of an installed "
            f"pipeline package. spaCy says: {error}"
        ) from error


def _settings(name: str, block: Mapping[str, Any]) -> Iterator[str]:
    """Find the dotted paths of all settings of a name."""
    for key, value in block.items():
        if isinstance(value, Mapping):
            yield from (f"{key}.{path}" for path in _settings(name, value))
        elif key == name:
            yield key
