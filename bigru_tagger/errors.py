"""The errors of this package: one base class, and a type for each kind of cause."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from confection import ConfigValidationError

from .base_error import Error


class InputError(Error, ConfigValidationError):
    """What a user provides cannot be used. `spacy train` prints the message, not a traceback.

    spaCy's commands do so for a ConfigValidationError while a pipeline is initialized. The error is
    a ValueError.
    """

    def __init__(self, desc: str, **settings: Any) -> None:
        """Create the error.

        desc (str): The message. It names the problem, its location and a solution.
        settings (Any): Other arguments of ConfigValidationError, which spaCy sets on a copy.
        """
        super().__init__(**{**settings, "title": "", "show_config": False}, desc=desc)
        self.title = "Invalid input"  # the line that spaCy prints before the message
        self.args = (desc,)


class DataError(InputError):
    """Training data, texts, predictions or word lists cannot be used."""


class ConfigError(InputError):
    """A setting, an option or an argument has a value that cannot be used."""


class ModelError(InputError):
    """A model is damaged, does not exist, or does not fit its use."""


class DeviceError(InputError):
    """A device is not available."""


@contextmanager
def loading(source: object) -> Iterator[None]:
    """Convert whatever reading a damaged model raises into a `ModelError`.

    Parsers of other packages raise many types for data that they do not expect. Errors about the
    machine, and about packages that are not installed or lack a function, are not converted.

    source (object): the file or folder, for the message.
    RAISES (ModelError): if anything but an ImportError, a MemoryError or a NotImplementedError is
        raised.
    """
    try:
        yield
    except (ModelError, MemoryError, NotImplementedError):
        raise
    except InputError as error:
        raise ModelError(f"{source}: {error}") from error
    except Exception as error:
        # E048 is spaCy's error for a language that does not exist.
        if isinstance(error, ImportError) and "[E048]" not in str(error):
            raise
        # Messages of spaCy and transformers can have many lines.
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise ModelError(
            f"{source}: the model is damaged ({reason}): copy, download or train it again"
        ) from error
