"""The command `check`: find problems in a corpus before training."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..files import write_json
from .app import app, report_errors
from .options import sentences_per_doc_option, with_reader_options

if TYPE_CHECKING:
    from ..corpus.corpus import Reader


@app.command("check")
@with_reader_options
def check_command(
    data: Annotated[
        list[str],
        typer.Argument(
            help="A dataset on the Hugging Face hub, a folder, or files (column files, JSON, "
            "parquet, .spacy). Several sources are the splits of one corpus; the first is the "
            "training split."
        ),
    ],
    *,
    split: Annotated[
        list[str] | None, typer.Option(help="A split to check; repeatable. Default: all.")
    ] = None,
    lang: Annotated[
        str, typer.Option(help="Language of the tokenizer, for texts with character offsets.")
    ] = "xx",
    sentences_per_doc: Annotated[int | None, sentences_per_doc_option("1")] = None,
    rare: Annotated[
        int,
        typer.Option(help="Report labels with fewer occurrences in the training split.", min=0),
    ] = 50,
    cases: Annotated[int, typer.Option(help="Cases to print per finding.", min=0)] = 5,
    json_path: Annotated[
        Path | None,
        typer.Option("--json", help="Write all numbers and cases to this file.", dir_okay=False),
    ] = None,
    reader: dict[str, Any],
) -> None:
    """Check annotated data: count labels, find duplicates and annotation that cannot be learned.

    The exit status is 1 if there is an error, which would make training fail or learn wrong
    annotation. Warnings and notes do not change the exit status.
    """
    import spacy
    from tqdm import tqdm

    from ..report.corpus_check import check_corpus
    from ..report.corpus_check_text import render_check

    if sentences_per_doc is not None:
        reader["sentences_per_doc"] = sentences_per_doc
    with report_errors(ImportError):
        nlp = spacy.blank(lang)
        corpora = _open_splits(data, split or (), reader)
        examples = {
            name: tqdm(corpus(nlp), desc=name, unit=" docs", disable=None, leave=False)
            for name, corpus in corpora.items()
        }
        check = check_corpus(examples, rare=rare)
        if json_path is not None:
            write_json(json_path, check.to_json())
    typer.echo(render_check(check, n_cases=cases))
    if check.level("error"):
        raise typer.Exit(1)


def _open_splits(
    data: Sequence[str], selected: Sequence[str], options: Mapping[str, Any]
) -> "dict[str, Reader]":
    from ..corpus.corpus import choose_splits, open_corpus

    readers: dict[str, Reader] = {}
    for source in data:
        splits = choose_splits(source, selected, **options)
        for split in splits:
            name = split if len(data) == 1 else f"{source} [{split}]"
            readers[name] = open_corpus(source, split=split, **options)
        if not splits:
            stem = Path(source).stem
            readers[source if stem in readers else stem] = open_corpus(source, **options)
    return readers
