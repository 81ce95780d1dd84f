"""Fingerprints of data and models: the same wherever they are stored."""

from glob import glob
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

from spacy.util import is_package

from .hub import SAMPLE, DatasetSource

HASH_DIGITS = 12


def fingerprint(source: str) -> str:
    """Identify data or a model by its contents, not by its place.

    source (str): a file, a folder, a glob pattern, an installed package, or a hub id.
    RETURNS (str): for files, a hash of their contents and of their names within a folder, without
        hidden files; for a package, its name and version; for anything else, `source` itself.
    RAISES (ValueError): an absolute path that does not exist.
    """
    place = Path(DatasetSource(SAMPLE).resolve().path if source == SAMPLE else source)
    found = [place] if place.exists() else [Path(path) for path in sorted(glob(source))]
    if found:
        digest = sha256()
        for root in found:
            for file in sorted(root.rglob("*")) if root.is_dir() else [root]:
                name = file.relative_to(root)
                if file.is_file() and not any(part.startswith(".") for part in name.parts):
                    content = sha256(file.read_bytes()).hexdigest()
                    digest.update(f"{name.as_posix()}\n{content}\n".encode())
        return digest.hexdigest()[:HASH_DIGITS]
    if place.is_absolute():
        raise ValueError(f"{source}: there is nothing; check the path")
    return f"{source} {version(source)}" if is_package(source) else source
