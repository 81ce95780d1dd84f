"""The structure of the package: each part imports only those above it."""

import re

from samples import ROOT

PACKAGE = ROOT / "bigru_tagger"
# In the order of the data: what comes later may import what comes before.
ORDER = [
    "base_error",
    "errors",
    "extras",
    "files",
    "markdown",
    "plots",
    "schemes",
    "tag_arrays",
    "tasks",
    "corpus",
    "scoring",
    "lazy",
    "stages",
    "time_steps",
    "decoding",
    "runtime",
    "network",
    "embeddings",
    "model",
    "pipeline",
    "report",
    "tuning",
    "distill",
    "recipes",
    "huggingface",
    "annotation",
    "server",
    "cli",
    "__main__",
]


def modules_and_packages() -> set[str]:
    paths = [*PACKAGE.glob("*.py"), *(path.parent for path in PACKAGE.glob("*/__init__.py"))]
    return {path.stem for path in paths} - {"__init__"}


def test_all_parts_are_in_the_order() -> None:
    assert modules_and_packages() == set(ORDER)


def test_parts_import_only_those_above_them() -> None:
    for position, name in enumerate(ORDER):
        part = PACKAGE / name
        files = part.rglob("*.py") if part.is_dir() else [part.with_suffix(".py")]
        imported = {
            target.split(".")[0]
            for path in files
            for target in re.findall(
                # As many dots as lead to the package, and so to its other parts.
                rf"^\s*from {'[.]' * len(path.relative_to(PACKAGE).parts)}(\w[\w.]*) import",
                path.read_text(encoding="utf8"),
                re.MULTILINE,
            )
        }
        assert imported <= set(ORDER[:position]), name


def test_the_package_does_not_import_benchmarks() -> None:
    importing = [
        path
        for path in PACKAGE.rglob("*.py")
        if re.search(
            r"^\s*(from|import) benchmarks\b", path.read_text(encoding="utf8"), re.MULTILINE
        )
    ]
    assert importing == []


def test_no_property_of_the_prediction_has_a_lock() -> None:
    # Before Python 3.12, functools.cached_property has one, and a forked process may wait forever.
    parts = ["decoding", "runtime", "network", "embeddings", "model", "pipeline"]
    files = [file for part in parts for file in PACKAGE.glob(f"{part}/**/*.py")]
    files.append(PACKAGE / "time_steps.py")
    assert len(files) > 50
    for file in files:
        found = re.search(
            r"functools import .*cached_property|functools\.cached", file.read_text("utf8")
        )
        assert found is None, file
