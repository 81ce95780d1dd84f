"""The errors of the package, and their documentation."""

import ast
import importlib
import pickle
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache

import pytest
from confection import ConfigValidationError
from samples import ROOT
from typer.testing import CliRunner

import bigru_tagger
from bigru_tagger.base_error import Error
from bigru_tagger.cli import app
from bigru_tagger.errors import (
    ConfigError,
    DataError,
    DeviceError,
    InputError,
    ModelError,
    loading,
)
from bigru_tagger.extras import MissingExtraError

PACKAGE = ROOT / "bigru_tagger"
KINDS = [DataError, ConfigError, ModelError, DeviceError]


def test_types_and_the_builtin_types_that_they_still_are() -> None:
    assert bigru_tagger.Error is Error
    for kind in KINDS:
        assert getattr(bigru_tagger, kind.__name__) is kind
        assert issubclass(kind, Error)
        assert issubclass(kind, ValueError)
        assert issubclass(kind, ConfigValidationError)  # spacy train prints the message
        error = kind("file.txt:3: wrong: correct it")
        assert str(pickle.loads(pickle.dumps(error))) == str(error)
    others = {
        "extras.MissingExtraError": ImportError,
        "annotation.workers.WorkerError": RuntimeError,
        "files.OutputExistsError": FileExistsError,
        "corpus.sentences.CorpusError": DataError,
        "embeddings.resources.ResourceError": DataError,
        "pipeline.soft_targets.TeacherError": DataError,
        "schemes.TagError": DataError,
        "pipeline.finite.NotFiniteError": ModelError,
    }
    for name, base in others.items():
        module, _, own = name.rpartition(".")
        kind = getattr(importlib.import_module(f"bigru_tagger.{module}"), own)
        assert issubclass(kind, base), name
        assert issubclass(kind, Error), name


def test_the_base_class_imports_nothing() -> None:
    code = "import sys; n = len(sys.modules); import bigru_tagger; bigru_tagger.Error; " + (
        "print([m for m in sys.modules if m.split('.')[0] in ('confection', 'thinc', 'spacy')])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("raised", "expected", "message"),
    [
        (KeyError("x"), ModelError, r"^m: the model is damaged \(KeyError: 'x'\): copy, download"),
        (UnicodeError("a\n b"), ModelError, r"damaged \(UnicodeError: a b\)"),
        (ConfigError("threshold"), ModelError, "^m: threshold$"),
        (ModelError("other"), ModelError, "^other$"),
        (MissingExtraError("torch"), MissingExtraError, "^torch$"),
        (ImportError("[E048] no language"), ModelError, "E048"),
        (MemoryError(), MemoryError, "^$"),
        (NotImplementedError("no bfloat16"), NotImplementedError, "^no bfloat16$"),
    ],
)
def test_whatever_reading_a_model_raises_is_converted(
    raised: Exception, expected: type[Exception], message: str
) -> None:
    with pytest.raises(expected, match=message), loading("m"):
        raise raised


# --- the documentation


@cache
def templates() -> list[tuple[str, str]]:
    """List the class and the message of each error that the package raises."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf8"))):
            call = node.exc if isinstance(node, ast.Raise) else node
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name):
                found.append((call.func.id, "".join(map(text_of, call.args))))
    return found


def text_of(node: ast.AST) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(map(text_of, node.values))
    return "…"


def names_of(kind: type) -> set[str]:
    return {kind.__name__}.union(*map(names_of, kind.__subclasses__()))


# Messages that are not written where they are raised.
_ELSEWHERE = {
    "threshold … must be a number from 0 to 1": "bigru_tagger/pipeline/label_settings.py",
    "has the unknown label …: choose from …": "bigru_tagger/pipeline/label_settings.py",
    "the network has no parameters yet": "bigru_tagger/model/module_shim.py",
    "tag … at position …: valid tags are 'O', …": "bigru_tagger/schemes.py",
    "… needs the package …, which is not installed": "bigru_tagger/extras.py",
}


def documented() -> Iterator[tuple[str, str]]:
    """Yield the type and the message of each row of the tables."""
    page = (ROOT / "docs" / "reference" / "errors.md").read_text(encoding="utf8")
    for section in page.split("\n## ")[1:]:
        kind = section.split("\n", 1)[0]
        for message in re.findall(r"^\| `(.+?)` \|", section, re.MULTILINE):
            yield kind, message


def test_all_kinds_are_documented() -> None:
    assert [kind for kind, _ in dict(documented()).items()] == [
        *(kind.__name__ for kind in KINDS),
        "MissingExtraError",
    ]


@pytest.mark.parametrize(("kind", "message"), list(documented()))
def test_each_documented_message_is_raised_with_its_type(kind: str, message: str) -> None:
    pieces = [piece.strip() for piece in message.split("…") if piece.strip(": ")]
    if message in _ELSEWHERE:
        source = (ROOT / _ELSEWHERE[message]).read_text(encoding="utf8")
        assert all(piece in source for piece in pieces)
        return
    for module in ("corpus.sentences", "embeddings.resources", "pipeline.finite"):
        importlib.import_module(f"bigru_tagger.{module}")  # with subclasses
    pattern = re.compile(".*".join(map(re.escape, pieces)), re.DOTALL)
    found = {name for name, text in templates() if pattern.search(text)}
    assert found & names_of(getattr(bigru_tagger, kind)), found


# ValueErrors on purpose: wrong use inside of a program, and what pydantic, the annotator and the
# command line turn into messages.
_BUILTIN = {
    "annotation/inputs.py",
    "model/module_shim.py",
    "network/embeddings/base.py",
    "network/network.py",
    "report/resampling.py",
    "runtime/context.py",
    "runtime/network.py",
    "server/schemas.py",
}


def test_errors_about_what_a_user_provides_have_a_kind() -> None:
    found = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if "raise ValueError(" in path.read_text(encoding="utf8")
    }
    assert {name for name in found if not name.startswith("cli/")} == _BUILTIN


def test_commands_print_one_line_without_a_traceback(tmp_path) -> None:
    for arguments in (
        ["check", str(tmp_path / "missing")],
        ["evaluate", str(tmp_path / "missing"), "bigru_tagger/sample"],
    ):
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 1
        (line,) = result.stderr.splitlines()
        assert line.startswith("Error: ")
        assert "missing" in line
    assert issubclass(InputError, Error)
