"""Write files and folders atomically."""

import ctypes
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from .base_error import Error

# From linux/fcntl.h and linux/fs.h, for renameat2.
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
_UNFINISHED = re.compile(r"\.(?P<name>.+)\.(?P<id>\d+|old)\.part")


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
def atomic_folder(path: Path, *, replace: bool = False) -> Iterator[Path]:
    """Yield a temporary folder that is renamed to `path` on success.

    On an error the temporary folder is removed, and `path` is left as it was.

    path (Path): the folder to write. It must not exist, or be empty, unless it may be replaced.
    replace (bool): whether to replace an existing folder. On Linux, both are exchanged in one step.
        Elsewhere, there is no folder at `path` between two renames. If the process is killed there,
        `remove_unfinished` renames the old folder back.
    YIELDS (Path): the temporary folder.
    RAISES (OutputExistsError): if `path` is a file, or a folder that is not empty and may not be
        replaced.
    """
    path = path.resolve()
    has_content = path.is_dir() and any(path.iterdir())
    if path.exists() and (not path.is_dir() or (has_content and not replace)):
        raise OutputExistsError(f"{path} already exists; not overwritten")
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    unfinished.mkdir(parents=True)
    try:
        yield unfinished
        if not (has_content and _exchange(unfinished, path)):
            if has_content:
                path.rename(_aside(path))
            unfinished.replace(path)
    finally:
        _put_back(path)
        shutil.rmtree(unfinished, ignore_errors=True)


def _exchange(first: Path, second: Path) -> bool:
    """Exchange two folders in one step. RETURNS (bool): False if the system cannot do so."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):  # only Linux has it
        return False
    arguments = (_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), _RENAME_EXCHANGE)
    return bool(renameat2(*arguments) == 0)


def _aside(path: Path) -> Path:
    return path.with_name(f".{path.name}.old.part")


def _put_back(path: Path) -> None:
    """Rename the old folder back if the new one is not at its place, else remove the old one."""
    aside = _aside(path)
    if aside.exists() and not path.exists():
        aside.rename(path)
    shutil.rmtree(aside, ignore_errors=True)


def remove_unfinished(folder: Path) -> None:
    """Remove what `atomic_path` and `atomic_folder` left in a folder if a process was killed.

    folder (Path): the folder. It may not exist.
    """
    for path in folder.glob(".*.part"):
        found = _UNFINISHED.fullmatch(path.name)
        if found and found["id"] == "old":
            _put_back(path.with_name(found["name"]))
        elif found and path.is_dir():
            shutil.rmtree(path)
        elif found:
            path.unlink()


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
