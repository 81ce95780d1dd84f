"""Distillation without a config."""

from importlib import import_module

import pytest
import spacy
from samples import TEXTS
from typer.testing import CliRunner

from bigru_tagger.cli import app


@pytest.fixture
def teacher(ner, tmp_path):
    ner.to_disk(tmp_path / "teacher")
    return tmp_path / "teacher"


@pytest.fixture
def texts(tmp_path):
    path = tmp_path / "texts.txt"
    path.write_text("\n".join(TEXTS * 10), encoding="utf8")
    return path


def distill(*arguments):
    return CliRunner().invoke(app, ["distill", *map(str, arguments)])


def test_the_student_learns_from_the_teacher(teacher, texts, tmp_path):
    output = tmp_path / "student"
    result = distill(
        teacher, texts, "--output", output, "--", "--training.max_steps", 40,
        "--training.dropout", 0.1,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    # Of 40 texts, the first and the 21st are held out, which are both the first sentence.
    assert "38 Docs with" in result.output
    assert "2 (held out) for development" in result.output
    # 40 PER, 20 LOC and 10 ORG, without two PER and one LOC of each held-out sentence.
    assert "entities: PER 36, LOC 18, ORG 10" in result.output
    assert "The scores are the agreement with the teacher." in result.output
    student = spacy.load(output / "model-best")
    assert student.lang == "en"
    assert student.get_pipe("ner").labels == ("LOC", "ORG", "PER")
    found = [(ent.text, ent.label_) for ent in student(TEXTS[0]).ents]
    assert found == [("Ada Lovelace", "PER"), ("Babbage", "PER"), ("London", "LOC")]


def test_the_gpu_is_for_the_student_too(teacher, texts, tmp_path, monkeypatch):
    # As if there were a GPU. In tests, "auto" is the CPU.
    monkeypatch.setattr("bigru_tagger.scoring.loading.require_gpu", lambda gpu_id: None)
    steps = ("--", "--training.max_steps", 1)
    for name, options, device in (("gpu", ("--gpu-id", 0), "auto"), ("cpu", (), None)):
        result = distill(teacher, texts, "--output", tmp_path / name, *options, *steps)
        assert result.exit_code == 0, result.output
        config = spacy.load(tmp_path / name / "model-best").config
        assert config["components"]["ner"]["model"]["device"] == device


def test_a_package_has_the_name_of_the_output_folder(teacher, texts, tmp_path, monkeypatch):
    calls = []
    packaging = import_module("spacy.cli.package")
    monkeypatch.setattr(packaging, "has_build", lambda: True)
    monkeypatch.setattr(
        packaging, "package", lambda *folders, **options: calls.append((folders, options))
    )
    output = tmp_path / "fast-news"
    result = distill(
        teacher, texts, "--output", output, "--package", "--", "--training.max_steps", 1
    )
    assert result.exit_code == 0, result.output
    ((folders, options),) = calls
    assert folders == (output / "model-best", output / "package")
    assert options["name"] == "fast_news"
    assert options["create_wheel"]


def test_errors_come_before_the_teacher_runs(teacher, texts, tmp_path, monkeypatch):
    packaging = import_module("spacy.cli.package")  # the attribute is a function
    monkeypatch.setattr(packaging, "has_build", lambda: False)
    monkeypatch.setattr(packaging, "has_wheel", lambda: False)
    output = tmp_path / "student"
    for option, message in (
        (("--package",), "--package needs the package build, which makes wheels: pip install"),
        (("--temperature", 0), "temperature must be above 0"),
        (("--weight", 2), "weight must be between 0 and 1"),
    ):
        result = distill(teacher, texts, "--output", output, *option)
        assert result.exit_code == 1
        assert message in result.output
    assert not output.exists()


def test_a_config_that_does_not_exist(teacher, texts, tmp_path):
    result = distill(teacher, "nothing.cfg", texts, "--output", tmp_path / "student")
    assert result.exit_code == 1
    assert "nothing.cfg: no such file" in result.output


def test_a_config_without_texts(teacher, tmp_path):
    config = tmp_path / "student.cfg"
    config.write_text("", encoding="utf8")
    result = distill(teacher, config, "--output", tmp_path / "student")
    assert result.exit_code == 1
    assert "there are no texts after the config" in result.output
