"""Write files and folders atomically."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from .base_error import Error


class OutputExistsError(Error, FileExistsError):
    """An output exists and is not overwritten."""


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path that replaces `path` on success.

    On an error the temporary file is removed, and `path` is left as it was.

    path (Path): the file to write or replace. Missing parent folders are created.
    YIELDS (Path): the temporary path, or `path` if it exists and is not a regular file, such as
        /dev/stdout.
    """
    path = path.resolve()  # keep a symbolic link, and replace its target
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
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder that is renamed to `path` on success.

    On an error the temporary folder is removed.

    path (Path): the folder to write. It must not exist, or be empty.
    YIELDS (Path): the temporary folder.
    RAISES (OutputExistsError): if `path` is a file, or a folder that is not empty.
    """
    path = path.resolve()
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise OutputExistsError(f"{path} already exists; not overwritten")
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    unfinished.mkdir(parents=True)
    try:
        yield unfinished
        unfinished.replace(path)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


@contextmanager
def replacing(path: Path) -> Iterator[TextIO]:
    """Open a text file for writing that replaces `path` on success.

    path (Path): the file to create or replace.
    YIELDS (TextIO): the open file.
    """
    with (
        atomic_path(path) as temporary,
        temporary.open("w", encoding="utf-8", newline="\n") as file,
    ):
        yield file


def write_json(path: Path, content: object) -> None:
    """Write a JSON file atomically.

    path (Path): the file to create or replace.
    content (object): JSON-serializable values.
    """
    with replacing(path) as file:
        file.write(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
