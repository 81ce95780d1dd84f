"""What the site generates: docstrings read, types written, settings and commands described."""

import sys
from collections.abc import Callable
from typing import Any, Literal

import pytest
from samples import ROOT
from thinc.api import Model

sys.path.append(str(ROOT / "docs" / "hooks"))
docstrings = pytest.importorskip("docstrings", reason="needs the extra `docs`")
reference = pytest.importorskip("reference", reason="needs the extra `docs`")

DOCSTRING = """Read a file.

More about it.

path (str | Path): Where it is; on
    two lines.
start, end (int): Bounds.
*args (Callable[[int], str]): What: it takes.
RETURNS (list[str]): The lines.
RAISES (OSError): No such file. (ValueError): The end
    is before the start.

A last paragraph with (brackets): no parameter.
"""


def test_a_docstring_is_read() -> None:
    parsed = docstrings.parse(DOCSTRING)
    last = "A last paragraph with (brackets): no parameter."
    assert parsed.text.split("\n\n") == ["Read a file.", "More about it.", last]
    assert parsed.parameters == {
        "path": ("str | Path", "Where it is; on two lines."),
        "start": ("int", "Bounds."),
        "end": ("int", "Bounds."),
        "*args": ("Callable[[int], str]", "What: it takes."),
    }
    assert parsed.sections == {
        "RETURNS": [("list[str]", "The lines.")],
        "RAISES": [
            ("OSError", "No such file"),
            ("ValueError", "The end is before the start."),
        ],
    }


def test_a_docstring_in_google_style() -> None:
    text = "Do it.\n\nn (int): How often.\nYIELDS (str): A line."
    assert docstrings.to_google_style(text) == (
        "Do it.\n\nArgs:\n    n (int): How often.\n\nYields:\n    str: A line."
    )
    assert docstrings.to_google_style("Only a summary.") == "Only a summary."


@pytest.mark.parametrize(
    ("annotation", "written"),
    [
        (int, "int"),
        (str | None, "str | null"),
        (dict[str, list[str]], "dict[str, list[str]]"),
        (Literal["gru", "lstm"], '"gru" | "lstm"'),
        (Callable[..., Any] | None, "function | null"),
        (Model[list, list], "Model"),
        (int | list[int], "int | list[int]"),
    ],
)
def test_types_are_written_as_in_configs(annotation: object, written: str) -> None:
    assert reference.render_type(annotation) == written


def test_settings_of_a_component() -> None:
    text = reference.settings("spacy_factories")
    assert "### `bigru_ner`" in text
    assert "It writes `doc.ents`" in text
    assert "`threshold` · `float` · default `0.0`\n:   " in text
    assert "`model` · `Model` · default `bigru_tagger.BiGRUTagger.v1`" in text
    assert "`nlp`" not in text


def test_a_setting_that_refers_to_another_function_is_described_in_place() -> None:
    text = reference.settings("spacy_architectures")
    encoder = text.partition("BiGRUEncoder.v1`")[2].partition("\n### ")[0]
    precision = encoder.partition("`predict_precision`")[2].partition("\n\n")[0]
    assert "bfloat16" in precision.partition(":   ")[2]
    assert "see `BiGRUTagger`" not in precision


def test_a_setting_without_a_description_is_an_error() -> None:
    own = docstrings.parse("Nothing about it.")
    with pytest.raises(LookupError, match="f: the setting 'width' has no description"):
        reference.effect_of("width", own, {}, "f")


def test_a_page_gets_the_text_it_asks_for() -> None:
    page = "# Commands\n\n<!-- generated: commands -->\n\n<!-- results:all -->"
    text = reference.on_page_markdown(page)
    assert text.startswith("# Commands\n\n")
    assert "## `bigru-tagger evaluate`" in text
    assert text.endswith("<!-- results:all -->")
