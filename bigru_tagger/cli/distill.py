"""The command `distill`: train a small pipeline on the predictions of a large one."""

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from ..files import atomic_path
from .app import WithOverrides, app, report_errors
from .options import sentences_per_doc_option, with_reader_options


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
    student_config_path: Annotated[
        Path,
        typer.Argument(metavar="STUDENT_CONFIG", help="A training config.", dir_okay=False),
    ],
    texts: Annotated[
        list[str],
        typer.Argument(
            metavar="TEXT...",
            help="A corpus in any format that `evaluate` reads, with or without entities, or a "
            ".txt file with one text per line.",
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
    sentences_per_doc: Annotated[int | None, sentences_per_doc_option("as in the config")] = None,
    device: Annotated[
        str | None, typer.Option(help="torch device of the teacher, if it has a `device`.")
    ] = None,
    gpu_id: Annotated[int, typer.Option(help="GPU of teacher and student; -1: none.")] = -1,
    reader: dict[str, Any],
) -> None:
    """Train a small pipeline on the predictions of a large one.

    Everything after -- is passed to `spacy train` as config overrides.
    """
    import spacy
    from spacy.cli._util import parse_config_overrides
    from spacy.cli.train import train
    from spacy.util import load_config

    from ..corpus.corpus import default_split, settings_for
    from ..corpus.fingerprint import fingerprint
    from ..distill.outputs import (
        check_student,
        read_row,
        store_outputs,
        student_config,
        training_corpus,
    )
    from ..distill.teachers import load_teacher, teacher_names
    from ..distill.texts import read_texts
    from ..scoring.loading import load_pipeline
    from ..scoring.renaming import parse_names

    with report_errors():
        overrides = parse_config_overrides(list(ctx.obj))
        names = parse_names(rename or ())
        # Check the student's config before the teacher's predictions, which take long.
        student = load_config(student_config_path, overrides=overrides, interpolate=True)
        check_student(student)
        corpus = training_corpus(student)
        if sentences_per_doc is None:
            sentences_per_doc = corpus.get("sentences_per_doc", 1)
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
                for doc in read_texts(
                    text,
                    nlp,
                    split=split or (default_split(text) and "train"),
                    sentences_per_doc=sentences_per_doc,
                    options={**settings_for(text, corpus), **reader},
                )
            ),
            settings={
                "teacher": [fingerprint(name) for name in teacher_names(teacher)],
                "rename": names,
            },
            top_k=top_k,
        )
        with atomic_path(output / "config.cfg") as temporary:
            config.to_disk(temporary)
    arguments = [str(output / "config.cfg"), "--output", str(output), *ctx.obj]
    typer.echo("To train again, without the teacher:")
    typer.echo(f"  python -m spacy train {shlex.join(arguments)}")
    train(output / "config.cfg", output, use_gpu=gpu_id, overrides=overrides)
