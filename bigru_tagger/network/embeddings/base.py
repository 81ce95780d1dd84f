"""The base class of the embeddings' torch modules, and the search for a module by its kind."""

from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec
from typing import Any, ClassVar

from torch import nn

from ...errors import ConfigError
from ...runtime.embeddings.base import Reads, read_kind

_MODULES: dict[str, type["EmbeddingModule"]] = {}


class EmbeddingModule(nn.Module):
    """A torch module that embeds words or tokens.

    A subclass names its kind: `class CharCNNModule(EmbeddingModule, kind="char_cnn")`. Saved
    networks refer to the class by this name, see `find_module`.

    width (int): width of the vectors that `forward` returns; set by `__init__`.
    reads (str): the arguments of `forward`:
        "words": one or more arrays with one row per distinct word, (n_words, ...), as a
        `WordEmbedding` reads them. `forward` returns (n_words, width), and runs once per distinct
        word.
        "sequences": the same arrays with one row per token, (n_tokens, ...), and the `Layout` of
        the sequences. `forward` returns (n_tokens, width).
        "vectors": vectors that another model computed, (n_tokens, ...). `forward` returns
        (n_tokens, width).
    """

    kind: ClassVar[str]
    reads: ClassVar[Reads] = "words"
    width: int

    def __init_subclass__(cls, kind: str | None = None, **kwargs: Any) -> None:
        """Register the class.

        kind (str | None): a name for saved networks; None for a base class of others.
        RAISES (ValueError): if another class has this name.
        """
        super().__init_subclass__(**kwargs)
        if kind is None:
            return
        known = _MODULES.get(kind)
        # The same file may be imported again, under another name, as by `spacy train --code`.
        if known is not None and known.__qualname__ != cls.__qualname__:
            raise ValueError(
                f"kind = {kind!r} of {cls.__module__}.{cls.__qualname__} is already the kind of "
                f"{known.__module__}.{known.__qualname__}: choose another name"
            )
        cls.kind = kind
        _MODULES[kind] = cls


def find_module(kind: str) -> type[EmbeddingModule]:
    """Find the class of a kind, and import it if needed.

    kind (str): the kind: of a class that was imported; or the name of a module in this package; or
        the name of an entry point in the group `spacy_misc` whose module defines or imports the
        class.
    RETURNS (type[EmbeddingModule]): the class.
    RAISES (ValueError): if there is no such class.
    """
    if kind not in _MODULES:
        if kind.isidentifier() and find_spec(f"{__package__}.{kind}"):
            import_module(f"{__package__}.{kind}")
        for point in entry_points(group="spacy_misc", name=kind):
            point.load()
    if kind not in _MODULES:
        raise ConfigError(
            f"there is no embedding of the kind {kind!r}: install the package that defines it, "
            "import its module first, or pass the file to spaCy's command by --code"
        )
    return _MODULES[kind]


def build_module(name: str, spec: Mapping[str, Any]) -> EmbeddingModule:
    """Build a module with fresh parameters.

    name (str): the embedding's name in the network, for error messages.
    spec (Mapping[str, Any]): `kind` and the keyword arguments of the class.
    RETURNS (EmbeddingModule): the module.
    RAISES (ValueError): if there is no such kind.
    """
    kind, arguments = read_kind(name, spec)
    try:
        module = find_module(kind)
    except ValueError as error:
        raise ConfigError(f"embedding {name!r}: {error}") from error
    return module(**arguments)
