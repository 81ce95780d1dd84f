"""What to know of a corpus before training on it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .app import app, errors_told
from .reading import with_reader_options

if TYPE_CHECKING:
    from ..corpus.corpus import Reader


@app.command("check")
@with_reader_options
def check_command(
    data: Annotated[
        list[str],
        typer.Argument(
            help="A dataset of the hub, a folder, or files: columns, JSON, parquet, .spacy. "
            "Several are the splits of one corpus, the first of them for training."
        ),
    ],
    *,
    split: Annotated[
        list[str] | None, typer.Option(help="A split to check; repeatable. Else all.")
    ] = None,
    lang: Annotated[
        str, typer.Option(help="Language of the tokenizer, for texts that are not tokenized.")
    ] = "xx",
    n_sents: Annotated[
        int | None, typer.Option(help="Sentences per Doc; 0 for whole documents.", min=0)
    ] = None,
    rare: Annotated[
        int, typer.Option(help="Report labels with fewer occurrences in training.", min=0)
    ] = 50,
    cases: Annotated[int, typer.Option(help="Cases to print of each finding.", min=0)] = 5,
    json_path: Annotated[
        Path | None,
        typer.Option("--json", help="Write all numbers and cases to this file.", dir_okay=False),
    ] = None,
    reader: dict[str, Any],
) -> None:
    """Check annotated data: counts, rare labels, duplicates, annotation that cannot be learned.

    The status is 1 where there is an error, that is where training would fail or learn what is
    wrong; warnings and notes leave it at 0.
    """
    import spacy
    from tqdm import tqdm

    from ..report.corpus_check import check_corpus
    from ..report.corpus_check_text import render_check
    from ..scoring.run import replacing

    if n_sents is not None:
        reader["sentences_per_doc"] = n_sents
    with errors_told((OSError, ValueError, ImportError, TypeError)):
        nlp = spacy.blank(lang)
        corpora = _open_splits(data, split or (), reader)
        examples = {
            name: tqdm(corpus(nlp), desc=name, unit=" docs", disable=None, leave=False)
            for name, corpus in corpora.items()
        }
        check = check_corpus(examples, rare=rare)
        if json_path is not None:
            with replacing(json_path) as file:
                file.write(json.dumps(check.to_json(), indent=2, ensure_ascii=False) + "\n")
    typer.echo(render_check(check, n_cases=cases))
    if check.level("error"):
        raise typer.Exit(1)


def _open_splits(
    data: Sequence[str], wanted: Sequence[str], options: Mapping[str, Any]
) -> "dict[str, Reader]":
    from ..corpus.corpus import corpus_splits, open_corpus
    from ..corpus.sentences import CorpusError

    readers: dict[str, Reader] = {}
    for source in data:
        splits = corpus_splits(source, **options)
        missing = sorted(set(wanted) - set(splits))
        if missing:
            there_are = f"there are {', '.join(splits)}" if splits else "it has no splits"
            raise CorpusError(f"{source}: no split {', '.join(missing)}: {there_are}")
        for split in wanted or splits:
            name = split if len(data) == 1 else f"{source} [{split}]"
            readers[name] = open_corpus(source, split=split, **options)
        if not splits:
            stem = Path(source).stem
            readers[source if stem in readers else stem] = open_corpus(source, **options)
    return readers
