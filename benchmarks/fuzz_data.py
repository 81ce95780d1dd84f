"""Read thousands of mutated data files: `scripts/fuzz_data --help`."""

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated
from unittest.mock import patch

import datasets  # type: ignore[import-untyped]
import spacy
import typer
from tqdm import tqdm
from wasabi.tables import table

from bigru_tagger.corpus.hub import without_progress_bars

from .mutations import binary, columns, offsets, rows
from .mutations.cases import Case, Cases, Rng, outcome

FORMATS: dict[str, Callable[[Rng], Cases]] = {
    "column files": columns.mutate,
    "JSON rows": rows.mutate,
    "JSON texts with offsets": offsets.mutate,
    ".spacy, parquet": binary.mutate,
}
"""The mutations by format."""


def fuzz_data(
    files: Annotated[int, typer.Option(help="The number of mutated files.", min=1)] = 10_000,
    seed: Annotated[int, typer.Option(help="The seed of files and mutations.")] = 0,
) -> None:
    """Read mutated data files, and compare each with the right outcome.

    The outcome is exact data, or an `InputError` that names the file and the line or row. For
    mutations whose meaning is unknown, such as a flipped bit, it is either such an error or data in
    which only the mutated sentence differs. Exits with status 1 if there is another outcome.
    """
    rng = random.Random(seed)
    nlp = spacy.blank("xx")
    counts: dict[str, Counter[str]] = {name: Counter() for name in FORMATS}
    problems: list[str] = []
    kinds = set()
    start = time.process_time()
    # The settings of `datasets` are global to the process: they are restored afterwards.
    with (
        TemporaryDirectory() as folder,
        patch.object(datasets.config, "HF_DATASETS_CACHE", Path(folder, "cache")),
        without_progress_bars(),
    ):
        for name, case in tqdm(
            islice(_cases(rng), files), total=files, unit=" files", disable=None
        ):
            got, problem = outcome(case, Path(folder), nlp)
            counts[name][got] += 1
            kinds.add((name, case.kind))
            if problem:
                counts[name]["problem"] += 1
                problems.append(f"{name}: {case.kind}: {problem}")
    lines = [
        (name, *(f"{found[key]:,}" for key in ("data", "error", "problem")))
        for name, found in counts.items()
    ]
    header = ("seed " + str(seed), "data", "errors", "problems")
    typer.echo(table(lines, header=header, divider=True, aligns=("l", "r", "r", "r")))
    typer.echo(
        f"{files:,} files, {len(kinds)} kinds of mutations, {time.process_time() - start:.0f} CPU s"
    )
    for problem in problems[:20]:
        typer.echo(problem, err=True)
    raise typer.Exit(code=bool(problems))


def _cases(rng: Rng) -> Iterator[tuple[str, Case]]:
    """Make mutated files of all formats in turn.

    YIELDS (tuple[str, Case]): the format and the file.
    """
    while True:
        for name, mutate in FORMATS.items():
            yield from ((name, case) for case in mutate(rng))


def main() -> None:
    """Run the command line."""
    typer.run(fuzz_data)


if __name__ == "__main__":
    main()
