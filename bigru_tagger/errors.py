"""The base of errors about what a user provides: data, files and packages."""

from typing import Any

from thinc.api import ConfigValidationError


class InputError(ConfigValidationError):
    """Data or resources that cannot be used. `spacy train` prints the message, not a traceback.

    spaCy's commands do so for a ConfigValidationError while a pipeline is initialized.
    """

    def __init__(self, desc: str, **settings: Any) -> None:
        """Create the error.

        desc (str): The message. It names the problem, its location and a solution.
        settings (Any): Other arguments of ConfigValidationError, which spaCy sets on a copy.
        """
        super().__init__(**{**settings, "title": "", "show_config": False}, desc=desc)
        self.title = "Invalid input"  # the line that spaCy prints before the message
        self.args = (desc,)
