"""The recipe for GLiNER in docs/distillation.md, with a stand-in that has GLiNER's signatures."""

import re
import runpy
import sys
import types

import numpy as np
import pytest
import spacy
from samples import ROOT
from spacy.tokens import Doc
from typer.testing import CliRunner

from bigru_tagger.cli import app
from bigru_tagger.distill.teachers import HardTeacher, SoftTeacher, load_teacher
from bigru_tagger.schemes import biluo_tags

PAGE = (ROOT / "docs" / "distillation.md").read_text(encoding="utf8")
FILES = dict(re.findall(r'^```python title="([^"]+)"\n(.*?)^```$', PAGE, re.M | re.S))
# What the stand-in finds: descriptions and scores by the text of entities.
KNOWN = {
    "Ada Lovelace": ("person", 0.9),
    "Lovelace": ("person", 0.6),  # inside another entity
    "Lond": ("city, country or region", 0.8),  # ends within a token
    "Analytical Engine Company": ("company or organization", 0.3),
}
TEXT = "Ada Lovelace left London for the Analytical Engine Company 🙂 ."


class GLiNER:
    """A stand-in for `gliner.GLiNER`, which finds known strings."""

    @classmethod
    def from_pretrained(cls, model_id, *, map_location="cpu"):
        assert (model_id, map_location) == ("urchade/gliner_medium-v2.1", "cpu")
        return cls()

    def inference(self, texts, labels, flat_ner=True, threshold=0.5, multi_label=False):
        assert not isinstance(texts, str)
        return [
            [
                {"start": found.start(), "end": found.end(), "text": name, "label": label}
                | {"score": score}
                for name, (label, score) in KNOWN.items()
                if score >= threshold and label in labels
                for found in re.finditer(name, text)
            ]
            for text in texts
        ]


@pytest.fixture(scope="module", autouse=True)
def teacher(tmp_path_factory):
    """The folder of the recipe's pipeline, in the working directory."""
    folder = tmp_path_factory.mktemp("recipe")
    for name, text in FILES.items():
        (folder / name).write_text(text, encoding="utf8")
    module = types.ModuleType("gliner")
    module.GLiNER = GLiNER
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "gliner", module)
        patch.syspath_prepend(str(folder))
        patch.chdir(folder)
        runpy.run_path("make_teacher.py")
        yield folder / "gliner_teacher"
        del sys.modules["gliner_component"]


def test_hard_labels(teacher):
    nlp = spacy.load(teacher)
    doc = nlp(TEXT)
    assert [(ent.text, ent.label_) for ent in doc.ents] == [
        ("Ada Lovelace", "PER"),
        ("London", "LOC"),
    ]
    assert [len(doc.ents) for doc in nlp.pipe(["Ada Lovelace", "It rained.", TEXT])] == [1, 0, 2]
    hard = HardTeacher(nlp)
    assert hard.labels == ("LOC", "ORG", "PER")
    (rows,) = hard([nlp.make_doc(TEXT)])
    tags = np.array(biluo_tags(hard.labels))[rows.argmax(1)]
    assert tags.tolist() == ["B-PER", "L-PER", "O", "U-LOC", *["O"] * 7]


def test_soft_labels(teacher):
    soft = load_teacher(str(teacher), spacy.load)
    pipeline = spacy.load(teacher)
    assert isinstance(SoftTeacher(pipeline, "gliner"), SoftTeacher)
    (rows,) = soft([Doc(pipeline.vocab, words=TEXT.split())])
    found = [
        {
            tag: round(float(value), 3)
            for tag, value in zip(biluo_tags(soft.labels), row, strict=True)
            if value
        }
        for row in rows
    ]
    assert found == [
        {"O": 0.1, "B-PER": 0.9},
        {"O": 0.1, "L-PER": 0.9},
        {"O": 1.0},
        {"O": 0.2, "U-LOC": 0.8},
        {"O": 1.0},
        {"O": 1.0},
        {"O": 0.7, "B-ORG": 0.3},
        {"O": 0.7, "I-ORG": 0.3},
        {"O": 0.7, "L-ORG": 0.3},
        {"O": 1.0},
        {"O": 1.0},
    ]


def test_a_student_learns_from_it(teacher, tmp_path):
    texts = tmp_path / "texts.txt"
    texts.write_text(f"{TEXT}\nNobody left .\n" * 15, encoding="utf8")
    command = ["--code", "gliner_component.py", "distill", "gliner_teacher", str(texts)]
    options = ["--output", "fast", "--", "--training.max_steps", "30", "--training.dropout", "0.1"]
    result = CliRunner().invoke(app, [*command, *options])
    assert result.exit_code == 0, result.output
    student = spacy.load("fast/model-best")
    assert student.get_pipe("ner").labels == ("LOC", "ORG", "PER")
    found = [(ent.text, ent.label_) for ent in student(TEXT).ents]
    assert found == [("Ada Lovelace", "PER"), ("London", "LOC")]
