"""The commands `train`, from annotations to a scored pipeline, and `combine`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from .app import WithOverrides, app, report_errors
from .options import Resume, with_reader_options


@app.command("train", cls=WithOverrides)
@with_reader_options
def train_command(
    ctx: typer.Context,
    data: Annotated[
        str,
        typer.Argument(
            help="Annotated data: a file (texts with character offsets as JSON lines, as of "
            "doccano, Prodigy or Label Studio; column files; parquet; .spacy), a folder, or a "
            "dataset on the Hugging Face hub."
        ),
    ],
    *,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Output folder for data, config and pipelines. Default: output/ and the name of "
            "the data.",
            file_okay=False,
        ),
    ] = None,
    dev: Annotated[
        str | None,
        typer.Option(help="Development data. Default: those of DATA, or a part held out."),
    ] = None,
    dev_share: Annotated[
        float, typer.Option(help="Share of the Docs to hold out as development data.")
    ] = 0.1,
    test: Annotated[
        str | None, typer.Option(help="Test data. They are only scored, once, at the end.")
    ] = None,
    lang: Annotated[
        str,
        typer.Option(help="The language of the pipeline; not used with --from."),
    ] = "en",
    vectors: Annotated[
        str,
        typer.Option(
            help="A pipeline with word vectors; auto for an installed one, none for none. Not "
            "used with --from."
        ),
    ] = "auto",
    task: Annotated[
        str | None,
        typer.Option(
            help="What to learn: entities, chunks, tags, or a key of doc.spans. Default: the first "
            "that is annotated."
        ),
    ] = None,
    config: Annotated[
        str | None,
        typer.Option(
            help="A training config in place of the recipe: a file, or a name that `bigru-tagger "
            "config` lists."
        ),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="A pipeline whose training is continued with new labels or new data. It keeps its "
            "other labels.",
        ),
    ] = None,
    gpu: Annotated[bool, typer.Option("--gpu", help="Train on the GPU.")] = False,
    minutes: Annotated[
        float | None,
        typer.Option(help="Train for this time at most, with fewer steps if necessary."),
    ] = None,
    seed: Annotated[int, typer.Option(help="The seed of everything that is random.")] = 0,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the pipelines in the output folder.")
    ] = False,
    resume: Resume = False,
    reader: dict[str, Any],
) -> None:
    """Train a pipeline on annotated data, and score it.

    The recipe is chosen by the data, and written as a config that `spacy train` takes as well.
    Everything after -- overrides a setting of it: -- --training.dropout 0.3.
    """
    from spacy.cli._util import parse_config_overrides

    from ..recipes.text import describe_plan, describe_training
    from ..recipes.training import plan_training, run_training

    with report_errors():
        plan = plan_training(
            data,
            output or Path("output") / Path(data).resolve().stem,
            dev=dev,
            dev_share=dev_share,
            lang=lang,
            vectors=vectors,
            task=task,
            config=config,
            start=start,
            gpu=gpu,
            minutes=minutes,
            seed=seed,
            overwrite=overwrite,
            resume=resume,
            overrides=parse_config_overrides(list(ctx.obj)),
            **reader,
        )
        typer.echo(describe_plan(plan))
        typer.echo(describe_training(run_training(plan, test=test)))


@app.command("combine")
def combine_command(
    models: Annotated[
        list[str],
        typer.Argument(
            help="Pipelines that were trained with one config and different seeds: folders or "
            "names of packages."
        ),
    ],
    *,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="Output folder of the pipeline.", file_okay=False),
    ],
) -> None:
    """Combine trained pipelines into an ensemble, which averages the logits of their networks.

    An ensemble of three is more accurate than each of them, and about three times as slow.
    """
    from ..files import atomic_folder
    from ..recipes.combining import combine

    with report_errors():
        nlp = combine(models)
        with atomic_folder(output) as temporary:
            nlp.to_disk(temporary)
    typer.echo(f"Written to {output}")
