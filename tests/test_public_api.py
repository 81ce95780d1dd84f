"""The public Python API: what `bigru_tagger.__all__` names."""

import ast
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
from samples import build, read_examples, train

import bigru_tagger


@pytest.mark.parametrize("name", bigru_tagger.__all__)
def test_each_name_can_be_imported_and_is_documented(name: str) -> None:
    value = getattr(bigru_tagger, name)
    assert name == "__version__" or value.__doc__
    assert name in dir(bigru_tagger)


def test_type_checkers_and_python_find_the_same_names() -> None:
    tree = ast.parse(Path(bigru_tagger.__file__).read_text(encoding="utf8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    typed = {
        alias.name: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert typed == bigru_tagger._MODULES
    assert {*typed, "__version__"} == set(bigru_tagger.__all__)


def test_other_names_do_not_exist() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Tagger'"):
        bigru_tagger.Tagger  # noqa: B018


def test_the_package_imports_nothing_at_first() -> None:
    code = "import sys, bigru_tagger; print([m for m in sys.modules if m.startswith('bigru_')])"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "['bigru_tagger']"


def test_a_pipeline_is_evaluated_reported_and_compared(tmp_path: Path) -> None:
    nlp = build("bigru_ner")
    train(nlp)
    evaluation = bigru_tagger.evaluate(nlp, read_examples(nlp.vocab))
    counts = evaluation.scores["entities"].strict
    assert {label: own.correct for label, own in counts.items()} == {"LOC": 2, "ORG": 1, "PER": 4}
    page = tmp_path / "report.html"
    bigru_tagger.write_report(page, evaluation, nlp=nlp, training=read_examples(nlp.vocab))
    assert "en_pipeline" in page.read_text(encoding="utf8")
    comparison = bigru_tagger.compare_systems(evaluation, evaluation)
    gold = comparison.tasks["entities"].gold
    assert (gold.both, gold.only_a, gold.only_b, gold.neither) == (7, 0, 0, 0)
    with pytest.raises(ValueError, match=r"\.html or \.md"):
        bigru_tagger.write_report(tmp_path / "report.pdf", evaluation)


def test_modules_are_found_by_their_names_of_before_the_move() -> None:
    names = {
        "data.corpus": "corpus.corpus",
        "data.schemes": "schemes",
        "evaluation.scoring": "scoring.scoring",
        "components.ner": "pipeline.ner",
        "reports": "report",
        "network.decoding": "decoding.viterbi",
        "network.storage": "runtime.storage",
        "network.time_steps": "time_steps",
    }
    code = """
import importlib, json, sys, warnings
for old, new in json.loads(sys.argv[1]).items():
    warnings.simplefilter("error")
    module = importlib.import_module(f"bigru_tagger.{new}")
    spec = module.__spec__
    warnings.simplefilter("ignore")
    found = importlib.import_module(f"bigru_tagger.{old}")
    print(old, found is module, module.__spec__ is spec)
"""
    result = subprocess.run(
        [sys.executable, "-c", code, json.dumps(names)], capture_output=True, text=True, check=True
    )
    assert result.stdout.splitlines() == [f"{old} True True" for old in names]


def test_the_new_names_of_moved_modules_exist() -> None:
    for old, new in bigru_tagger._MOVED.items():
        assert importlib.util.find_spec(new) is not None, old


def test_an_old_name_gives_a_warning() -> None:
    sys.modules.pop("bigru_tagger.evaluation", None)
    with pytest.warns(DeprecationWarning, match=r"bigru_tagger.evaluation is now .*\.scoring"):
        importlib.import_module("bigru_tagger.evaluation")
