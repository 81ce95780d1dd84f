"""The command `distill`: train a small pipeline on the predictions of a large one."""

import re
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from .app import WithOverrides, app, report_errors
from .options import Resume, parse_renaming, sentences_per_doc_option, with_reader_options


@app.command("distill", cls=WithOverrides)
@with_reader_options
def distill_command(
    ctx: typer.Context,
    teacher: Annotated[
        str,
        typer.Argument(
            help="A spaCy pipeline or a Hugging Face token-classification model: a folder or a "
            "name. For several teachers, separated by commas, the mean of their probabilities is "
            "used."
        ),
    ],
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="[STUDENT_CONFIG] TEXT...",
            help="A training config (.cfg), if the recipe is not to be chosen by the texts. Then "
            "corpora in any format that `evaluate` reads, with or without entities, or .txt files "
            "with one text per line.",
        ),
    ],
    *,
    output: Annotated[
        Path,
        typer.Option(
            help="Output folder for teacher outputs, config and pipeline.", file_okay=False
        ),
    ],
    split: Annotated[
        str | None, typer.Option(help="The split of datasets and folders. Default: train.")
    ] = None,
    temperature: Annotated[
        float,
        typer.Option(
            help="Temperature of the softmax of teacher and student in training; 1 changes nothing."
        ),
    ] = 2.0,
    weight: Annotated[
        float,
        typer.Option(help="Weight of the teacher in the loss of texts that have gold entities."),
    ] = 0.5,
    top_k: Annotated[
        int, typer.Option(help="Number of most probable tags to store per token.", min=1)
    ] = 8,
    rename: Annotated[
        list[str] | None,
        typer.Option(
            help="LABEL=NAME: rename a label of the teacher; LABEL= removes its entities. "
            "Repeatable."
        ),
    ] = None,
    gold: Annotated[
        bool, typer.Option(help="Also learn from the gold entities of the texts.")
    ] = True,
    vectors: Annotated[
        str,
        typer.Option(
            help="Without a config: a pipeline with word vectors for the student, or none."
        ),
    ] = "none",
    minutes: Annotated[
        float | None,
        typer.Option(help="Without a config: train the student for this time at most."),
    ] = None,
    resume: Resume = False,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Replace an unfinished training in the output folder."),
    ] = False,
    package: Annotated[
        bool, typer.Option("--package", help="Also write a wheel, which pip installs.")
    ] = False,
    sentences_per_doc: Annotated[int | None, sentences_per_doc_option("as in the config")] = None,
    device: Annotated[
        str | None, typer.Option(help="torch device of the teacher, if it has a `device`.")
    ] = None,
    gpu_id: Annotated[int, typer.Option(help="GPU of teacher and student; -1: none.")] = -1,
    reader: dict[str, Any],
) -> None:
    """Train a small pipeline on the predictions of a large one.

    Without a config, the recipe is chosen by the texts, and the scores are the agreement with the
    teacher on texts that are held out. Everything after -- overrides settings of the config.
    """
    import spacy
    from spacy.cli._util import parse_config_overrides
    from spacy.util import load_config

    from ..corpus.corpus import default_split, settings_for
    from ..corpus.fingerprint import fingerprint
    from ..distill.outputs import check_student, read_row, training_corpus
    from ..distill.teachers import load_teacher, teacher_lang, teacher_names
    from ..distill.texts import read_texts
    from ..recipes.checkpoints import check_unfinished, is_unfinished
    from ..scoring.loading import load_pipeline

    with report_errors():
        config, texts = _split_arguments(arguments)
        if config is None:
            check_unfinished(output, resume=resume, overwrite=overwrite)
        elif resume or overwrite:
            raise ValueError(
                "`resume` and `overwrite` are for a student without a config. To go on with a "
                "config, name the logger bigru_tagger.Checkpoints.v1 in it, and repeat the command"
            )
        overrides = parse_config_overrides(list(ctx.obj))
        names = parse_renaming(rename or ())
        if package:
            _check_build()
        corpus: dict[str, Any] = {}
        tokenizer: dict[str, Any] = {}
        lang = teacher_lang(teacher)
        if config is not None:
            # Check the student's config before the teacher's predictions, which take long.
            student = load_config(config, overrides=overrides, interpolate=True)
            check_student(student, gold=gold)
            corpus = training_corpus(student)
            lang = student["nlp"]["lang"]
            tokenizer = {"nlp": {"tokenizer": student["nlp"].get("tokenizer", {})}}
        nlp = spacy.blank(lang, config=tokenizer)
        if sentences_per_doc is None:
            sentences_per_doc = corpus.get("sentences_per_doc", 1)
        outputs: dict[str, Any] = {
            "teacher": lambda: load_teacher(
                teacher,
                lambda name: load_pipeline(name, gpu_id=gpu_id, device=device),
                device=device or (f"cuda:{gpu_id}" if gpu_id >= 0 else None),
                rename=names,
            ),
            "rows": lambda: (
                read_row(doc, gold=gold)
                for text in texts
                for doc in read_texts(
                    text,
                    nlp,
                    split=split or (default_split(text) and "train"),
                    sentences_per_doc=sentences_per_doc,
                    options={**settings_for(text, corpus), **reader},
                )
            ),
            "settings": {
                "teacher": [fingerprint(name) for name in teacher_names(teacher)],
                "rename": names,
            },
            "top_k": top_k,
            "temperature": temperature,
            "weight": weight,
        }
        if config is None:
            _distill_by_recipe(
                output,
                lang=lang,
                vectors=None if vectors == "none" else vectors,
                minutes=minutes,
                gpu=gpu_id >= 0,
                overrides=overrides,
                resume=resume and is_unfinished(output),
                **outputs,
            )
        else:
            _distill_by_config(
                config, output, gpu_id=gpu_id, overrides=overrides, given=ctx.obj, **outputs
            )
        if package:
            _package(output)


def _split_arguments(arguments: Sequence[str]) -> tuple[Path | None, list[str]]:
    config = Path(arguments[0]) if arguments[0].endswith(".cfg") else None
    texts = list(arguments[config is not None :])
    if config is not None and not config.is_file():
        raise ValueError(f"{config}: no such file")
    if not texts:
        raise ValueError("there are no texts after the config: add a file or another corpus")
    return config, texts


def _distill_by_recipe(
    output: Path,
    *,
    minutes: float | None,
    overrides: dict[str, Any],
    resume: bool,
    **settings: Any,
) -> None:
    from ..recipes.checkpoints import stored_steps
    from ..recipes.distillation import plan_distillation
    from ..recipes.text import describe_plan, describe_training
    from ..recipes.training import run_training

    if resume and minutes is not None:
        overrides, minutes = {**stored_steps(output), **overrides}, None
    plan = plan_distillation(output=output, minutes=minutes, overrides=overrides, **settings)
    plan = replace(plan, resume=resume)
    typer.echo(describe_plan(plan))
    typer.echo("The scores are the agreement with the teacher.")
    typer.echo(describe_training(run_training(plan)))


def _distill_by_config(
    path: Path,
    output: Path,
    *,
    gpu_id: int,
    overrides: dict[str, Any],
    given: list[str],
    temperature: float,
    weight: float,
    **settings: Any,
) -> None:
    from spacy.cli.train import train
    from spacy.util import load_config

    from ..distill.outputs import store_outputs, student_config
    from ..recipes.configs import write_config

    outputs = output / "teacher"
    student = load_config(path, interpolate=False)
    config = student_config(student, outputs, temperature=temperature, weight=weight)
    store_outputs(outputs, **settings)
    file = write_config(config, output)
    on_gpu = [] if gpu_id < 0 else ["--gpu-id", str(gpu_id)]
    arguments = [str(file), "--output", str(output), *on_gpu, *given]
    typer.echo("To train again, without the teacher:")
    typer.echo(f"  python -m spacy train {shlex.join(arguments)}")
    train(file, output, use_gpu=gpu_id, overrides=overrides)


def _check_build() -> None:
    """Check that wheels can be made, before the teacher runs."""
    from spacy.cli.package import has_build, has_wheel

    if not (has_build() or has_wheel()):
        raise ValueError("--package needs the package build, which makes wheels: pip install build")


def _package(output: Path) -> None:
    from spacy.cli.package import package

    folder = output / "package"
    folder.mkdir(exist_ok=True)
    package(
        output / "model-best",
        folder,
        name=re.sub(r"\W", "_", output.resolve().name),  # not "pipeline" for each of several
        create_sdist=False,
        create_wheel=True,
        force=True,
    )
