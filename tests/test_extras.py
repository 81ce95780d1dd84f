"""Extras: what they install, and the errors that name them."""

import ast
import re
import subprocess
import sys
from importlib.metadata import requires

import pytest
from packaging.requirements import Requirement
from samples import ROOT

from bigru_tagger.extras import EXTRAS, MissingExtraError, explained, require

ALL = ("docs", "plots", "serve", "test", "torch", "train", "trainer", "transformers")


def installed_by(extra: str) -> set[str]:
    """The packages that an extra installs; the light install for ""."""
    found = set()
    for requirement in map(Requirement, requires("bigru-tagger") or []):
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        if requirement.name == "bigru-tagger":
            found.update(*map(installed_by, requirement.extras))
        else:
            found.add(requirement.name.replace("-", "_"))
    return found


def test_each_package_is_installed_by_the_smallest_extra() -> None:
    light = installed_by("")
    assert {"spacy", "numpy", "safetensors"} <= light
    for package, extra in EXTRAS.items():
        assert package not in light
        with_it = [other for other in ALL if package in installed_by(other)]
        assert extra in with_it
        assert all(installed_by(extra) <= installed_by(other) for other in with_it)


def test_the_extra_of_the_tests_installs_all_others() -> None:
    assert set().union(*map(installed_by, ALL)) == installed_by("test")


def imported_by(source: str) -> set[str]:
    """The packages that a module imports, in functions as well."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found.update(name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module is not None:
            found.add(node.module)
    return {name.partition(".")[0] for name in found} - set(sys.stdlib_module_names)


def test_all_imported_packages_are_dependencies() -> None:
    paths = (ROOT / "bigru_tagger").rglob("*.py")
    imported = set().union(*(imported_by(path.read_text(encoding="utf8")) for path in paths))
    assert {"spacy", "torch", "markupsafe"} <= imported
    of_users = set().union(*map(installed_by, ("", "plots", "serve", "trainer")))
    assert imported <= of_users


def test_the_docs_list_all_dependencies() -> None:
    page = (ROOT / "docs" / "reference" / "dependencies.md").read_text(encoding="utf8")
    listed = re.findall(r"^\| ([a-z][\w-]+) \| (?:`(\w+)` \|)?", page, re.MULTILINE)
    in_section = dict(listed)
    of_users = set().union(*map(installed_by, ("", "plots", "serve", "trainer")))
    assert {name.replace("-", "_") for name in in_section} == of_users
    for name, extra in in_section.items():
        assert not extra or name.replace("-", "_") in installed_by(extra)


def test_scripts_and_workflows_install_extras_that_exist() -> None:
    paths = [*(ROOT / "scripts").iterdir(), *(ROOT / ".github" / "workflows").glob("*.yml")]
    paths += [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    paths += [ROOT / "examples" / "README.md", *(ROOT / "bigru_tagger").rglob("*.py")]
    text = "\n".join(path.read_text(encoding="utf8") for path in paths if path.is_file())
    named = re.findall(r'EXTRAS=(\w+)|(?:\.|whl\)|bigru-tagger)\[([\w,]+)\]["\'`]', text)
    found = {extra for pair in named for names in pair for extra in names.split(",")} - {""}
    assert found == set(ALL)


def test_a_missing_package_is_an_error_that_names_its_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert require("json.decoder", "this").JSONDecoder
    monkeypatch.setitem(sys.modules, "scipy", None)  # as if it were not installed
    message = "this needs the package scipy, which is not installed: pip install 'bigru-tagger[{}]'"
    with pytest.raises(MissingExtraError, match=f"^{re.escape(message.format('train'))}$"):
        require("scipy.optimize", "this")
    with pytest.raises(MissingExtraError, match=f"^{re.escape(message.format('trainer'))}$"):
        require("scipy.optimize", "this", "trainer")
    expected = re.escape(message.format("train"))
    with pytest.raises(MissingExtraError, match=f"^{expected}$"), explained("this"):
        import scipy.optimize  # noqa: F401, PLC0415


def test_other_missing_packages_are_errors_as_usual() -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_package"), explained("this"):
        import no_such_package  # noqa: F401, PLC0415


WITHOUT = """
import sys
for name in ("torch", "datasets"):
    sys.modules[name] = None  # as if it were not installed
import spacy
import bigru_tagger
from spacy.training import Example
nlp = spacy.blank("en")
nlp.add_pipe("bigru_ner")
example = Example.from_dict(nlp.make_doc("Ada"), {"entities": [(0, 3, "PER")]})
for run in (
    lambda: bigru_tagger.save_transformers,
    lambda: list(bigru_tagger.open_corpus("conll2003", split="train")(nlp)),
    lambda: nlp.initialize(lambda: [example]),
):
    try:
        run()
    except ImportError as error:
        print(error)
"""


def test_what_needs_the_extra_for_training_names_it() -> None:
    command = [sys.executable, "-W", "ignore", "-c", WITHOUT]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    end = "which is not installed: pip install 'bigru-tagger[train]'"
    assert ended.stdout.splitlines() == [
        f"save_transformers needs the package torch, {end}",
        f"reading this data needs the package datasets, {end}",
        f"training needs the package torch, {end}",
    ]
