"""The base class of components that are saved with checksums."""

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from spacy import util
from spacy.pipeline import TrainablePipe

from ..errors import ModelError, loading
from ..model.thinc_model import network_shim
from ..runtime.storage import check, checksum
from .finite import check_weights
from .label_settings import check_names, check_settings, load_settings

_CFG, _MODEL, _VOCAB = "cfg", "model", "vocab"
CHECKSUMS = "checksums"
"""The file with the checksums of settings and weights. Version 0.2 and before did not write it."""

_Self = TypeVar("_Self", bound="SavedComponent")


class SavedComponent(TrainablePipe):
    """A component that checks its settings and weights when it is loaded.

    Its folder has the file `cfg` with the settings as JSON, the file `model` with the weights, and
    the file `checksums` with a checksum of each. The checksums find damage and unintended changes.
    They are no protection against forgery.
    """

    def to_bytes(self, *, exclude: Iterable[str] = ()) -> bytes:
        """Serialize the component to bytes.

        exclude (Iterable[str]): names of serialization fields to exclude.
        RETURNS (bytes): the serialized component.
        RAISES (NotFiniteError): if a weight is NaN or infinite.
        """
        exclude = tuple(exclude)
        parts = self._parts(exclude)
        getters: dict[str, Callable[[], bytes]] = {
            name: partial(parts.__getitem__, name) for name in parts
        }
        getters[_VOCAB] = partial(self.vocab.to_bytes, exclude=exclude)
        return util.to_bytes(getters, exclude)

    def to_disk(self, path: Any, *, exclude: Iterable[str] = ()) -> None:
        """Save the component to a folder.

        path (str | Path): the folder, which is created if it does not exist.
        exclude (Iterable[str]): names of serialization fields to exclude.
        RAISES (NotFiniteError): if a weight is NaN or infinite.
        """
        exclude = tuple(exclude)
        parts = self._parts(exclude)
        writers: dict[str, Callable[[Path], Any]] = {
            name: partial(Path.write_bytes, data=data) for name, data in parts.items()
        }
        writers[_VOCAB] = partial(self.vocab.to_disk, exclude=exclude)
        util.to_disk(path, writers, exclude)

    def from_bytes(self: _Self, bytes_data: bytes, *, exclude: Iterable[str] = ()) -> _Self:
        """Load the component from bytes.

        bytes_data (bytes): the serialized component.
        exclude (Iterable[str]): names of serialization fields to exclude.
        RETURNS (SavedComponent): the component.
        RAISES (ModelError): see `from_disk`.
        """
        exclude = tuple(exclude)
        parts: dict[str, Any] = {}
        setters: dict[str, Callable[[bytes], Any]] = {
            name: partial(parts.__setitem__, name) for name in (_CFG, _MODEL, CHECKSUMS, _VOCAB)
        }
        with loading(self.name):
            util.from_bytes(bytes_data, setters, exclude)
            if _VOCAB in parts:
                self.vocab.from_bytes(parts[_VOCAB], exclude=exclude)
        return self._load(parts.get, self.name, exclude)

    def from_disk(self: _Self, path: Any, *, exclude: Iterable[str] = ()) -> _Self:
        """Load the component from a folder.

        path (str | Path): the folder.
        exclude (Iterable[str]): names of serialization fields to exclude.
        RETURNS (SavedComponent): the component.
        RAISES (ModelError): if a file is missing or damaged, has changed since it was saved, or has
            weights that are NaN or infinite; or if the files do not fit.
        """
        exclude = tuple(exclude)
        folder = util.ensure_path(path)
        if _VOCAB not in exclude:
            self.vocab.from_disk(folder / _VOCAB, exclude=exclude)
        return self._load(partial(_read_file, folder), str(folder), exclude)

    def _parts(self, exclude: Collection[str]) -> dict[str, bytes]:
        # The content of the files by name.
        check_settings(self.name, self.cfg)
        check_names(self)
        check_weights(self.name, self.model, "saved")
        parts: dict[str, bytes] = {}
        if _CFG not in exclude:
            parts[_CFG] = json.dumps(self.cfg, indent=2).encode()
        if _MODEL not in exclude:
            parts[_MODEL] = self.model.to_bytes()
        sums = {name: checksum([data]) for name, data in parts.items()}
        return {**parts, CHECKSUMS: json.dumps(sums, indent=2).encode()}

    def _load(
        self: _Self,
        read: Callable[[str], bytes | None],
        source: str,
        exclude: Collection[str],
    ) -> _Self:
        # Everything is checked before it is used. `read` returns None for a missing file.
        stored = _read_checksums(None if CHECKSUMS in exclude else read(CHECKSUMS), source)
        parts: dict[str, bytes] = {}
        for name in {_CFG, _MODEL} - {*exclude}:
            data = read(name)
            if data is None:
                raise ModelError(
                    f"{source}: the file {name!r} is missing: copy, download or train the model "
                    "again"
                )
            advice = f"If it was changed on purpose, remove {CHECKSUMS!r}, which is beside it"
            check(stored.get(name), checksum([data]), f"{source}: {name!r}", advice)
            parts[name] = data
        if _CFG in parts:
            load_settings(self, _read_settings(parts[_CFG], source), f"{source}: 'cfg'")
        if _MODEL in parts:
            with loading(f"{source}: 'model'"):
                self.model.from_bytes(parts[_MODEL])
        for label in self.labels:
            self.vocab.strings.add(label)
        if len(parts) == 2:
            self._check_labels(source)
        check_weights(self.name, self.model, "loaded")
        return self

    def _check_labels(self, source: str) -> None:
        shim = network_shim(self.model)
        if not shim.is_initialised:
            return
        numbers = {shim.spec.n_tags, self.model.get_dim("nO")}
        if numbers != {len(self.tags)}:
            raise ModelError(
                f"{source}: the {len(self.labels)} labels of 'cfg' need {len(self.tags)} tags, but "
                f"the network has {shim.spec.n_tags}: copy 'cfg' and 'model' of the same pipeline"
            )
        check_names(self, ModelError)


def _read_file(folder: Path, name: str) -> bytes | None:
    path = folder / name
    return path.read_bytes() if path.is_file() else None


def _read_checksums(data: bytes | None, source: str) -> Mapping[str, Any]:
    if data is None:
        return {}
    with loading(f"{source}: {CHECKSUMS!r}"):
        stored = json.loads(data)
    if not isinstance(stored, dict) or not {_CFG, _MODEL} & stored.keys():
        raise ModelError(
            f"{source}: {CHECKSUMS!r} has no checksums: copy the model again, or remove this file "
            "if the others were changed on purpose"
        )
    return stored


def _read_settings(data: bytes, source: str) -> dict[str, Any]:
    with loading(f"{source}: 'cfg'"):
        settings = json.loads(data)
    if not isinstance(settings, dict) or "labels" not in settings:
        raise ModelError(f"{source}: 'cfg' has no labels: copy, download or train the model again")
    return settings
