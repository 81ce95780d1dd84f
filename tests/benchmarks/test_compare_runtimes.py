"""The comparison of prediction in NumPy with PyTorch."""

import numpy as np
import pytest

from benchmarks.compare_runtimes import _EMBED, _tasks, compare_runtimes
from bigru_tagger.runtime.spec import NetworkSpec

PARTS = ["recurrent layers", "network", "embeddings"]


@pytest.mark.slow
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_speeds_are_printed_side_by_side(cell: str, capsys: pytest.CaptureFixture[str]) -> None:
    compare_runtimes("4,3", cell, context=2, tokens=140, rounds=1)
    header, _, *rows = capsys.readouterr().out.strip().splitlines()
    assert header.split() == ["words", "per", "CPU", "second", "PyTorch", "NumPy", "ratio"]
    names = [f"{part}, {what}" for what in ("batch", "13 words") for part in PARTS]
    for name, row in zip(names, rows, strict=True):
        assert row.startswith(name)
        theirs, ours, ratio = (float(number.replace(",", "")) for number in row.split()[-3:])
        assert ratio == pytest.approx(ours / theirs, abs=0.01)


def test_amounts_are_words() -> None:
    spec = NetworkSpec(_EMBED, [3], n_tags=17)
    amounts = {name: task()() for name, task in _tasks(spec, np.array([5, 2000])).items()}
    for library in ("torch", "numpy"):
        assert [amounts[library, part] for part in PARTS] == [2005, 2005, 1024]
