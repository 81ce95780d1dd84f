"""The extras of this package: dependencies that only some features need.

`pip install bigru-tagger` installs what prediction on a CPU needs. The errors below name the extra
for everything else.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from .base_error import Error

EXTRAS = {
    "accelerate": "trainer",
    "datasets": "train",
    "fastapi": "serve",
    "huggingface_hub": "train",
    "matplotlib": "plots",
    "prometheus_client": "serve",
    "pyarrow": "train",
    "scipy": "train",
    "seqeval": "train",
    "tokenizers": "transformers",
    "torch": "torch",
    "transformers": "transformers",
    "uvicorn": "serve",
}
"""The smallest extra that installs each package."""


class MissingExtraError(Error, ImportError):
    """A package that a feature needs is not installed."""


def require(name: str, feature: str, extra: str | None = None) -> Any:
    """Import a package that an extra installs.

    name (str): the name of the package, or of one of its modules.
    feature (str): what needs it, such as "training", for the error message.
    extra (str | None): the extra with everything that the feature needs; None for the smallest one
        that installs the package.
    RETURNS (module): the module.
    RAISES (MissingExtraError): if it is not installed.
    """
    package = name.partition(".")[0]
    if find_spec(package) is None:
        raise _missing(package, feature, extra)
    return import_module(name)


@contextmanager
def explained(feature: str) -> Iterator[None]:
    """Convert a failed import of a package that an extra installs.

    feature (str): what needs the package, for the error message.
    RAISES (MissingExtraError): if one is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in EXTRAS:
            raise
        raise _missing(package, feature, "train") from error


def _missing(package: str, feature: str, extra: str | None) -> MissingExtraError:
    return MissingExtraError(
        f"{feature} needs the package {package}, which is not installed: "
        f"pip install 'bigru-tagger[{extra or EXTRAS[package]}]'"
    )
