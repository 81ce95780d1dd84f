"""Fingerprints of data and models that do not depend on their location."""

from glob import glob
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

from spacy.util import is_package

from ..errors import DataError
from .sources import SAMPLE, DatasetSource

HASH_DIGITS = 12


def fingerprint(source: str) -> str:
    """Identify data or a model by its contents, not by its location.

    source (str): A file, a folder, a glob pattern, an installed package, or a hub id.
    RETURNS (str): For files, a hash of their contents and of their paths relative to the folder,
        without hidden files. For a package, its name and version. For anything else, `source`.
    RAISES (ValueError): The source is an absolute path that does not exist.
    """
    path = Path(DatasetSource(SAMPLE).resolve().path if source == SAMPLE else source)
    roots = [path] if path.exists() else [Path(match) for match in sorted(glob(source))]
    if roots:
        digest = sha256()
        for root in roots:
            for file in sorted(root.rglob("*")) if root.is_dir() else [root]:
                name = file.relative_to(root)
                if file.is_file() and not any(part.startswith(".") for part in name.parts):
                    content = sha256(file.read_bytes()).hexdigest()
                    digest.update(f"{name.as_posix()}\n{content}\n".encode())
        return digest.hexdigest()[:HASH_DIGITS]
    if path.is_absolute():
        raise DataError(f"{source}: no such file or folder: check the path")
    return f"{source} {version(source)}" if is_package(source) else source
