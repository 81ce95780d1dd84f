from pathlib import Path

import pytest

from bigru_tagger.corpus.fingerprint import fingerprint


def test_a_fingerprint_depends_on_names_and_contents(tmp_path: Path) -> None:
    for name in ("a.conll", "b.conll", ".hidden"):
        (tmp_path / name).write_text(name)
    whole = fingerprint(str(tmp_path))
    (tmp_path / ".hidden").write_text("changed")
    assert fingerprint(str(tmp_path)) == whole
    assert fingerprint(str(tmp_path / "*.conll")) not in (
        whole,
        fingerprint(str(tmp_path / "a.conll")),
    )
    (tmp_path / "b.conll").rename(tmp_path / "c.conll")
    assert fingerprint(str(tmp_path)) != whole
    assert fingerprint("eriktks/conll2003") == "eriktks/conll2003"
    assert fingerprint("numpy").startswith("numpy ")


def test_a_missing_absolute_path_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="missing: no such file or folder: check the path"):
        fingerprint(str(tmp_path / "missing"))
