"""Files and folders that are replaced as a whole."""

import os
from pathlib import Path

import pytest

from bigru_tagger import files
from bigru_tagger.files import atomic_folder, remove_unfinished


def fill(folder, text):
    folder.mkdir(exist_ok=True)
    (folder / text).write_text(text, encoding="utf8")


def content(folder):
    """The files of a folder, hidden ones included, by their path."""
    return {
        path.relative_to(folder).as_posix(): path.read_text("utf8")
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture(params=["exchange", "two renames"])
def system(request, monkeypatch):
    if request.param == "two renames":
        monkeypatch.setattr(files, "_exchange", lambda first, second: False)


@pytest.mark.usefixtures("system")
def test_a_folder_is_replaced(tmp_path):
    fill(tmp_path / "model", "old")
    with atomic_folder(tmp_path / "model", replace=True) as temporary:
        fill(temporary, "new")
        assert content(tmp_path / "model") == {"old": "old"}
    assert content(tmp_path) == {"model/new": "new"}


@pytest.mark.usefixtures("system")
def test_an_error_leaves_the_old_folder(tmp_path):
    fill(tmp_path / "model", "old")

    def fail():
        with atomic_folder(tmp_path / "model", replace=True) as temporary:
            fill(temporary, "new")
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        fail()
    assert content(tmp_path) == {"model/old": "old"}


def test_a_folder_is_replaced_only_on_request(tmp_path):
    fill(tmp_path / "model", "old")
    with pytest.raises(FileExistsError, match="not overwritten"), atomic_folder(tmp_path / "model"):
        pass
    assert content(tmp_path) == {"model/old": "old"}


def test_linux_exchanges_folders_in_one_step(tmp_path):
    fill(tmp_path / "first", "1")
    fill(tmp_path / "second", "2")
    if not files._exchange(tmp_path / "first", tmp_path / "second"):
        pytest.skip("this system cannot exchange folders")
    assert content(tmp_path) == {"first/2": "2", "second/1": "1"}


def test_a_failure_between_two_renames(tmp_path, monkeypatch):
    fill(tmp_path / "model", "old")
    monkeypatch.setattr(files, "_exchange", lambda first, second: False)
    monkeypatch.setattr(Path, "replace", lambda *_: os.stat(tmp_path / "missing"))
    with (
        pytest.raises(FileNotFoundError),
        atomic_folder(tmp_path / "model", replace=True) as temporary,
    ):
        fill(temporary, "new")
    assert content(tmp_path) == {"model/old": "old"}


def test_what_a_killed_process_left_is_removed(tmp_path):
    fill(tmp_path / "model", "complete")
    for name in (".model.12.part", ".model.old.part", "kept", ".kept.part", ".kept.x.part"):
        fill(tmp_path / name, "x")
    (tmp_path / ".config.cfg.12.part").write_text("[nlp", encoding="utf8")
    remove_unfinished(tmp_path)
    assert set(content(tmp_path)) == {"model/complete", "kept/x", ".kept.part/x", ".kept.x.part/x"}


def test_a_folder_comes_back_if_the_process_was_killed_between_two_renames(tmp_path):
    fill(tmp_path / ".model.old.part", "old")
    fill(tmp_path / ".model.12.part", "new")
    remove_unfinished(tmp_path)
    assert content(tmp_path) == {"model/old": "old"}


def test_a_folder_that_does_not_exist_has_nothing_unfinished(tmp_path):
    remove_unfinished(tmp_path / "nothing")
