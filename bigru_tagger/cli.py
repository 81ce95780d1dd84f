"""The command `bigru-tagger`: convert data, evaluate a pipeline, tag a sentence, get a config."""

import json
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping
from itertools import takewhile
from pathlib import Path
from typing import Annotated, Any

import spacy
import typer
from spacy.cli._util import parse_config_overrides
from spacy.cli.train import train
from spacy.language import Language
from spacy.tokens import Span
from spacy.training import Example
from spacy.util import load_config
from thinc.api import require_gpu
from typer.core import TyperCommand

from .convert import convert, counts_table
from .corpus import SentenceReader, open_corpus
from .distillation import (
    check_student,
    read_row,
    store_outputs,
    student_config,
    training_corpus,
)
from .evaluation import evaluate, replacing, write_predictions
from .files import beside, folder_beside
from .gates import gates_table, plot_gates, read_gates
from .plots import can_plot
from .replication import fingerprint
from .report import render
from .teachers import load_teacher, teacher_names
from .texts import read_texts

app = typer.Typer(
    name="bigru-tagger",
    help="Bi-GRU tagging for spaCy. Train with `spacy train`; everything around it is here.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.command("convert")
def convert_command(
    source: Annotated[
        str,
        typer.Argument(help="A dataset of the hub, a folder, or a file: columns, JSON, parquet."),
    ],
    output_dir: Annotated[Path, typer.Argument(help="Where the .spacy files go.", file_okay=False)],
    *,
    split: Annotated[
        list[str] | None, typer.Option(help="A split to convert; repeatable. Else all.")
    ] = None,
    n_sents: Annotated[
        int, typer.Option(help="Sentences per Doc; 0 for whole documents.", min=0)
    ] = 1,
    scheme: Annotated[
        str | None, typer.Option(help="Tag scheme (IOB1, IOB2, IOBES, BILOU); else recognised.")
    ] = None,
) -> None:
    """Write any corpus as .spacy files, and print a table of what is in it."""
    try:
        counts = convert(source, output_dir, splits=split, sentences_per_doc=n_sents, scheme=scheme)
    except (OSError, ValueError, TypeError) as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from error
    typer.echo(counts_table(counts))
    typer.echo(f"Written to {output_dir}")


@app.command("config")
def config_command(
    name: Annotated[str | None, typer.Argument(help="The config; none to list them.")] = None,
    output: Annotated[
        Path | None, typer.Argument(help="Where to copy it; none to print it.", dir_okay=False)
    ] = None,
) -> None:
    """List the training configs of this package, or copy one."""
    configs = {path.stem: path for path in sorted(configs_dir().glob("*.cfg"))}
    if name is None:
        typer.echo("\n".join(configs))
        return
    if name not in configs:
        typer.echo(f"Error: no config {name!r}; there are {', '.join(configs)}", err=True)
        raise typer.Exit(1)
    text = configs[name].read_text(encoding="utf8")
    if output is None:
        typer.echo(text)
    elif output.exists():
        typer.echo(f"Error: {output} is there already; it is left as it is", err=True)
        raise typer.Exit(1)
    else:
        output.write_text(text, encoding="utf8")
        typer.echo(f"Written to {output}")


@app.command("tag")
def tag_command(
    model: Annotated[str, typer.Argument(help="A pipeline: a folder or a package's name.")],
    sentences: Annotated[list[str], typer.Argument(help="What to tag.")],
) -> None:
    """Print the entities of sentences, each with its probability if the pipeline tells it."""
    try:
        nlp = spacy.load(model)
    except OSError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from error
    for doc in nlp.pipe(sentences):
        typer.echo(doc.text)
        for entity in doc.ents:
            known = Span.has_extension("confidence") and entity._.confidence is not None
            confidence = f"{entity._.confidence:6.1%}" if known else ""
            typer.echo(f"  {entity.label_:<6} {confidence}  {entity.text}")
        if not doc.ents:
            typer.echo("  no entities")


@app.command("gates")
def gates_command(
    model: Annotated[str, typer.Argument(help="A pipeline: a folder or a package's name.")],
    text: Annotated[str, typer.Argument(help="A sentence.")],
    *,
    output: Annotated[
        Path | None, typer.Option(help="Draw a figure to this file, .svg or .png.", dir_okay=False)
    ] = None,
    component: Annotated[
        str | None, typer.Option(help="The component; else the first that has a GRU.")
    ] = None,
    units: Annotated[int, typer.Option(help="Single units in the figure.", min=0)] = 8,
) -> None:
    """Show what the update and reset gates (z and r) of the GRU do at each token."""
    try:
        if output is not None and output.suffix not in {".svg", ".png"}:
            raise ValueError(f"--output: {output} has to end in .svg or .png")
        if output is not None and not can_plot():
            raise ValueError('--output needs matplotlib: pip install "bigru-tagger[plots]"')
        gates = read_gates(load_pipeline(model), text, component)
        typer.echo(gates_table(gates))
        if output is not None:
            plot_gates(gates, output, units)
            typer.echo(f"Drawn to {output}")
    except (OSError, ValueError) as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from error


@app.command("to-transformers")
def to_transformers_command(
    model: Annotated[str, typer.Argument(help="A pipeline: a folder or a package's name.")],
    output_dir: Annotated[Path, typer.Argument(help="The folder to write.", file_okay=False)],
    *,
    component: Annotated[
        str | None, typer.Option(help="The component; else the only one of ours.")
    ] = None,
) -> None:
    """Convert a component of a pipeline to Hugging Face's format, with a model card."""
    from . import exchange  # noqa: PLC0415 - transformers takes seconds to import

    try:
        nlp = _load(model, {})
        name = exchange.choose_component(nlp) if component is None else component
        exchange.save_transformers(nlp, name, output_dir)
    except (OSError, ValueError) as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from error
    others = [other for other in nlp.pipe_names if other != name]
    if others:
        typer.echo(f"Not converted, since the format holds one component: {', '.join(others)}")
    typer.echo(f"Written to {output_dir}")


@app.command("from-transformers")
def from_transformers_command(
    model: Annotated[str, typer.Argument(help="A folder, or the name of a model of the hub.")],
    output_dir: Annotated[Path, typer.Argument(help="The pipeline to write.", file_okay=False)],
) -> None:
    """Convert a model in Hugging Face's format back to a spaCy pipeline."""
    from . import exchange  # noqa: PLC0415 - transformers takes seconds to import

    try:
        nlp = exchange.load_transformers(model)
        with folder_beside(output_dir) as place:
            nlp.to_disk(place)
    except (OSError, ValueError) as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from error
    typer.echo(f"Written to {output_dir}")


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


@app.command("evaluate")
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
        int | None, typer.Option(help="Sentences per document; else as in training.", min=0)
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
            read_gold(nlp, data, split=split, n_sents=n_sents, spans_key=spans_key),
            spans_key=spans_key,
            batch_size=batch_size,
            model=model,
            data=data,
            split=split,
        )
        typer.echo(render(evaluation))
        if json_path is not None:
            with replacing(json_path) as file:
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


class _WithOverrides(TyperCommand):
    """A command behind whose arguments and a `--` stand settings for `spacy train`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        own = list(takewhile(lambda argument: argument != "--", args))
        ctx.obj = args[len(own) + 1 :]
        return super().parse_args(ctx, own)


@app.command("distill", cls=_WithOverrides)
def distill_command(
    ctx: typer.Context,
    teacher: Annotated[
        str,
        typer.Argument(
            help="A spaCy pipeline, or a token-classification model of Hugging Face: a folder or a "
            "name; several, joined by commas, teach their mean."
        ),
    ],
    student_config_path: Annotated[
        Path,
        typer.Argument(metavar="STUDENT_CONFIG", help="A training config.", dir_okay=False),
    ],
    texts: Annotated[
        list[str],
        typer.Argument(
            metavar="TEXT...",
            help="What `evaluate` takes as data, with entities or without; or a .txt file, a text "
            "a line.",
        ),
    ],
    *,
    output: Annotated[
        Path, typer.Option(help="Where outputs, config and pipeline go.", file_okay=False)
    ],
    split: Annotated[str, typer.Option(help="The split of datasets.")] = "train",
    temperature: Annotated[
        float, typer.Option(help="How much teacher and student are softened; 1: not at all.")
    ] = 2.0,
    weight: Annotated[
        float, typer.Option(help="The teacher's share in the loss where there is gold as well.")
    ] = 0.5,
    top_k: Annotated[
        int, typer.Option(help="How many of a token's tags to keep, the most probable.", min=1)
    ] = 8,
    rename: Annotated[
        list[str] | None,
        typer.Option(
            help="LABEL=NAME: what a label of the teacher is called here; LABEL= makes it count "
            "as no entity. Repeatable."
        ),
    ] = None,
    gold: Annotated[bool, typer.Option(help="Learn from the texts' own entities, too.")] = True,
    n_sents: Annotated[
        int | None, typer.Option(help="Sentences per document; else as in the config.", min=0)
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="torch device of the teacher, where it has a `device`.")
    ] = None,
    gpu_id: Annotated[int, typer.Option(help="GPU of teacher and student; -1: none.")] = -1,
) -> None:
    """Train a small pipeline on what a large one says. Behind --: overrides for `spacy train`."""
    try:
        overrides = parse_config_overrides(list(ctx.obj))
        names = dict(_renaming(pair) for pair in rename or ())
        # Whatever the student's config lacks should be known before the teacher is asked.
        student = load_config(student_config_path, overrides=overrides, interpolate=True)
        check_student(student)
        if n_sents is None:
            n_sents = training_corpus(student).get("sentences_per_doc", 1)
        outputs = output / "teacher"
        config = student_config(
            load_config(student_config_path, interpolate=False),
            outputs,
            temperature=temperature,
            weight=weight,
        )
        tokenizer = {"nlp": {"tokenizer": student["nlp"].get("tokenizer", {})}}
        nlp = spacy.blank(student["nlp"]["lang"], config=tokenizer)
        store_outputs(
            outputs,
            lambda: load_teacher(
                teacher,
                lambda name: load_pipeline(name, gpu_id=gpu_id, device=device),
                device=device or (f"cuda:{gpu_id}" if gpu_id >= 0 else None),
                rename=names,
            ),
            lambda: (
                read_row(doc, gold=gold)
                for text in texts
                for doc in read_texts(text, nlp, split=split, sentences_per_doc=n_sents)
            ),
            settings={
                "teacher": [fingerprint(name) for name in teacher_names(teacher)],
                "rename": names,
            },
            top_k=top_k,
        )
        with beside(output / "config.cfg") as place:
            config.to_disk(place)
    except (OSError, ValueError) as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from error
    arguments = [str(output / "config.cfg"), "--output", str(output), *ctx.obj]
    typer.echo("To train again, without the teacher:")
    typer.echo(f"  python -m spacy train {shlex.join(arguments)}")
    train(output / "config.cfg", output, use_gpu=gpu_id, overrides=overrides)


def _renaming(pair: str) -> tuple[str, str]:
    label, equals, name = pair.partition("=")
    if not label or not equals:
        raise ValueError(f"--rename {pair}: write LABEL=NAME")
    return label, name


def read_gold(
    nlp: Language, data: str, *, split: str, n_sents: int | None, spans_key: str
) -> Iterable[Example]:
    """Read gold data in Docs such as a pipeline was trained on.

    nlp (Language): the pipeline.
    data (str): what `bigru_tagger.corpus.open_corpus` takes.
    split (str): the split.
    n_sents (int | None): sentences per Doc, 0 for whole documents; `None` for as in training.
    spans_key (str): where to put chunks, in `doc.spans`.
    RETURNS (Iterable[Example]): the examples.
    RAISES (ValueError): the data cannot be read so.
    """
    options = {} if n_sents is None else {"sentences_per_doc": n_sents}
    try:
        corpus = open_corpus(data, split=split, **options)
    except TypeError as error:  # a .spacy file has its documents already
        raise ValueError(f"--n-sents: {error}") from error
    # A reader makes the spans; those of a .spacy file are where they are.
    if isinstance(corpus, SentenceReader):
        corpus.spans_key = spans_key
        # A pipeline that learned to use the context of a Doc should find as much of it here.
        dev = nlp.config.interpolate().get("corpora", {}).get("dev") or {}
        corpus.given_sentences = dev.get("given_sentences", True)
        if n_sents is None:
            corpus.sentences_per_doc = dev.get("sentences_per_doc", 1)
    return corpus(nlp)


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


def configs_dir() -> Path:
    """Find the training configs.

    RETURNS (Path): their folder: inside the package, or beside it in a checkout on a system
        without symbolic links.
    """
    package = Path(__file__).parent
    inside = package / "configs"
    return inside if inside.is_dir() else package.parent / "configs"


def main() -> None:
    """Run the command line."""
    app()
