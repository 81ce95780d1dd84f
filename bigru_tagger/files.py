"""Files that are there whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def beside(path: Path) -> Iterator[Path]:
    """Give a place beside a file, which takes the file's own once all is written.

    On an error the place is emptied, and what was at `path` stays.

    path (Path): the file to write or replace; its folders are made.
    YIELDS (Path): where to write: `path` itself if that is no plain file, such as /dev/stdout.
    """
    path = path.resolve()  # a link keeps its place, its target is replaced
    if path.exists() and not path.is_file():
        yield path
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    # In the same folder, so that the rename stays on one file system and is atomic.
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield unfinished
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
