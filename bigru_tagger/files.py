"""Files that are there whole or not at all."""

import os
import shutil
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


@contextmanager
def folder_beside(path: Path) -> Iterator[Path]:
    """Give a folder beside a new one, which takes its place once all is written.

    On an error there is neither.

    path (Path): the folder to write, which may be there if it is empty.
    YIELDS (Path): where to write.
    RAISES (FileExistsError): if there is a file, or a folder that holds anything.
    """
    path = path.resolve()
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise FileExistsError(f"{path} is there already; it is left as it is")
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    unfinished.mkdir(parents=True)
    try:
        yield unfinished
        unfinished.replace(path)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
