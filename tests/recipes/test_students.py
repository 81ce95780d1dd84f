"""Distillation without a config."""

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
