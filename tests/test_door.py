"""What contributors and hosting platforms read: workflows, templates, versions, links."""

import re
from pathlib import Path

import pytest
import yaml
from samples import ROOT

from bigru_tagger import __version__

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
PAGES = sorted(ROOT.glob("*.md"))


def read(path: Path) -> dict[str, object]:
    # YAML 1.1 reads the key `on` as true.
    return {str(key): value for key, value in yaml.safe_load(path.read_text("utf8")).items()}


def test_the_versions_agree() -> None:
    assert read(ROOT / "CITATION.cff")["version"] == __version__
    changelog = (ROOT / "CHANGELOG.md").read_text("utf8")
    versions = re.findall(r"^## \[([^]]+)\](?: - (\S+))?$", changelog, re.MULTILINE)
    assert versions[0] == ("Unreleased", "")
    assert versions[1] == (__version__, read(ROOT / "CITATION.cff")["date-released"])


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_run_what_is_there(path: Path) -> None:
    workflow = read(path)
    jobs = workflow["jobs"]
    assert workflow["permissions"] == {"contents": "read"}
    assert isinstance(jobs, dict)
    for job in jobs.values():
        assert set(job.get("needs", "").split()) <= set(jobs)
        for step in job["steps"]:
            assert ("run" in step) != ("uses" in step)
            assert "@" in step.get("uses", "@")
            for script in re.findall(r"scripts/[\w-]+", step.get("run", "")):
                assert (ROOT / script).is_file(), script


def test_workflows_test_the_versions_of_python_that_are_supported() -> None:
    (path,) = [path for path in WORKFLOWS if path.stem == "tests"]
    matrix = read(path)["jobs"]["tests"]["strategy"]["matrix"]  # type: ignore[index]
    pyproject = (ROOT / "pyproject.toml").read_text("utf8")
    (first, behind) = re.findall(r'^requires-python = ">=3\.(\d+),<3\.(\d+)"', pyproject, re.M)[0]
    assert matrix["python"] == [f"3.{minor}" for minor in range(int(first), int(behind))]
    assert {system.split("-")[0] for system in matrix["system"]} == {"ubuntu", "macos", "windows"}


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_forms_have_what_their_platform_asks_for(path: Path) -> None:
    form = read(path)
    if path.stem == "config":
        assert set(form) == {"blank_issues_enabled"}
        return
    assert {"name", "description", "body"} <= set(form)
    for field in form["body"]:  # type: ignore[attr-defined]
        assert field["type"] in ("textarea", "input", "dropdown", "markdown", "checkboxes")
        assert field["attributes"]["label"]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_what_pages_link_to_is_there(path: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text("utf8")):
        assert (path.parent / target).exists(), target
