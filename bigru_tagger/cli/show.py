"""The commands `tag` and `gates`: show predictions for texts, and the gates of a GRU."""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from ..plots import can_plot
from .app import app, report_errors
from .options import BatchSize, Device, GpuId, Model

if TYPE_CHECKING:
    from spacy.tokens import Doc, Span

_STANDARD_INPUT = "-"


@app.command("tag")
def tag_command(
    model: Model,
    texts: Annotated[
        list[str] | None,
        typer.Argument(
            help="Texts to tag. Without texts and --input, standard input is read, one text per "
            "line."
        ),
    ] = None,
    *,
    inputs: Annotated[
        list[str] | None,
        typer.Option(
            "--input",
            "-i",
            help="A UTF-8 file with one text per line, or - for standard input. Repeatable.",
        ),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print one JSON line per text: Doc.to_json() with scores."),
    ] = False,
    batch_size: BatchSize = None,
    device: Device = None,
    gpu_id: GpuId = -1,
) -> None:
    """Print the entities, spans and tags that a pipeline finds in texts.

    Entities and spans are printed with their probability if the pipeline provides it.
    """
    from spacy.util import minibatch

    from ..annotation.records import doc_record
    from ..scoring.loading import confidence_attributes, load_pipeline, setters_of

    with report_errors():
        if texts and inputs:
            raise ValueError("texts and --input are both set: use only one of them")
        nlp = load_pipeline(model, gpu_id=gpu_id, device=device)
        attributes = confidence_attributes(nlp)
        finds_entities = bool(setters_of(nlp, "doc.ents"))
        sources = inputs or [_STANDARD_INPUT]
        if not texts and _STANDARD_INPUT in sources and sys.stdin.isatty():
            typer.echo("Type one text per line.", err=True)
            batch_size = batch_size or 1
        stream = iter(texts) if texts else _read_texts(sources)
        size = batch_size or nlp.batch_size
        for batch in minibatch(stream, size):  # type: ignore[no-untyped-call]
            with nlp.memory_zone():
                for doc in nlp.pipe(batch):
                    if as_json:
                        typer.echo(json.dumps(doc_record(doc, attributes), ensure_ascii=False))
                    else:
                        typer.echo("\n".join(_describe(doc, attributes, finds_entities)))


def _read_texts(paths: Iterable[str]) -> Iterator[str]:
    """Read files with one text per line, without blank lines.

    paths (Iterable[str]): The files; "-" is standard input.
    YIELDS (str): The texts.
    RAISES (ValueError): A line is not in UTF-8. (OSError): A file cannot be read.
    """
    for path in paths:
        if path == _STANDARD_INPUT:
            yield from _read_lines("standard input", sys.stdin.buffer)
        else:
            with Path(path).open("rb") as file:
                yield from _read_lines(path, file)


def _read_lines(name: str, file: BinaryIO) -> Iterator[str]:
    for number, line in enumerate(file, start=1):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
        except UnicodeError as error:
            raise ValueError(f"{name}:{number}: {error}: convert the text to UTF-8") from error
        if text:
            yield text


def _describe(doc: "Doc", attributes: Sequence[str], finds_entities: bool) -> Iterator[str]:
    """Yield the text of a Doc, and indented lines with its entities, spans and tags."""
    from ..tasks import CHUNKS, ENTITIES

    yield doc.text
    yield from _describe_spans(doc.ents, ENTITIES.probabilities(doc, attributes))
    if not doc.ents and (finds_entities or doc.has_annotation("ENT_IOB")):
        yield "  no entities"
    for key, group in doc.spans.items():
        yield f"  {key}:" if len(group) else f"  no {key}"
        yield from _describe_spans(
            group, CHUNKS.with_key(key).probabilities(doc, ()), indent="    "
        )
    if doc.has_annotation("TAG"):
        tagged = (f"{token.text}/{token.tag_}" for token in doc if not token.is_space)
        yield f"  tags: {' '.join(tagged)}"


def _describe_spans(
    spans: "Iterable[Span]",
    probabilities: Mapping[tuple[int, int, str], float],
    indent: str = "  ",
) -> Iterator[str]:
    from ..tasks import span_key

    for span in spans:
        probability = probabilities.get(span_key(span))
        confidence = "" if probability is None else f"{probability:6.1%}"
        yield f"{indent}{span.label_:<6} {confidence}  {span.text}"


@app.command("gates")
def gates_command(
    model: Model,
    text: Annotated[str, typer.Argument(help="A sentence.")],
    *,
    output: Annotated[
        Path | None,
        typer.Option(help="Write a figure to this file (.svg or .png).", dir_okay=False),
    ] = None,
    component: Annotated[
        str | None, typer.Option(help="The component. Default: the first that has a GRU.")
    ] = None,
    units: Annotated[
        int, typer.Option(help="Number of individual units in the figure.", min=0)
    ] = 8,
) -> None:
    """Show the update and reset gates (z and r) of the GRU at each token."""
    from ..report.gates import gates_table, plot_gates, read_gates
    from ..scoring.loading import load_pipeline

    with report_errors():
        if output is not None and output.suffix not in {".svg", ".png"}:
            raise ValueError(f"--output: {output} must end in .svg or .png")
        if output is not None and not can_plot():
            raise ValueError('--output requires matplotlib: pip install "bigru-tagger[plots]"')
        gates = read_gates(load_pipeline(model), text, component)
        typer.echo(gates_table(gates))
        if output is not None:
            plot_gates(gates, output, units)
            typer.echo(f"Written to {output}")
