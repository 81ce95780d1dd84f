"""Write figures, if matplotlib is installed."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .files import atomic_path


def can_plot() -> bool:
    """Check whether matplotlib is installed.

    RETURNS (bool): whether it is.
    """
    return find_spec("matplotlib") is not None


def save_figure(figure: Any, path: Path) -> None:
    """Write a figure to an image file atomically.

    figure (matplotlib.figure.Figure): the figure.
    path (Path): the image file. Its suffix, such as .svg or .png, selects the format.
    RAISES (OSError): if the image cannot be written.
    """
    with atomic_path(path) as place:
        figure.savefig(place, format=path.suffix.removeprefix("."))
