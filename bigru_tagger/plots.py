"""Figures: whether they can be drawn, and how they are written."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .files import atomic_path


def can_plot() -> bool:
    """Tell whether matplotlib is there.

    RETURNS (bool): whether figures can be drawn.
    """
    return find_spec("matplotlib") is not None


def save_figure(figure: Any, path: Path) -> None:
    """Write a figure to a file, which is replaced only when all is drawn.

    figure (matplotlib.figure.Figure): the figure.
    path (Path): the image; its ending, such as .svg or .png, is its format.
    RAISES (OSError): the image cannot be written.
    """
    with atomic_path(path) as place:
        figure.savefig(place, format=path.suffix.removeprefix("."))
