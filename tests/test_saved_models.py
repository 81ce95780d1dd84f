"""Models that earlier versions saved: they load, and predict what they predicted then."""

import tarfile
from pathlib import Path

import pytest
from samples import ROOT
from saved.check_predictions import differences

# Made by the version in the name: three components with all embeddings that need no transformer,
# the chunker with a CRF.
ARCHIVES = sorted((ROOT / "tests" / "saved").glob("*.tar.xz"))


@pytest.mark.parametrize("archive", ARCHIVES, ids=lambda path: path.name)
def test_a_saved_model_predicts_as_before(archive: Path, tmp_path: Path) -> None:
    # Python 3.14 has this filter by default; 3.11.3 and older do not have it.
    options = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
    with tarfile.open(archive) as files:
        files.extractall(tmp_path, **options)
    assert differences(tmp_path / "model", tmp_path / "predictions.json") == []
