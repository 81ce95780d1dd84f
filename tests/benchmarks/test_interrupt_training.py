"""Trainings that are interrupted at random."""

import re
import subprocess
import sys

import pytest
from samples import ROOT

from benchmarks.interrupt_training import digest


def test_a_digest_depends_on_names_and_contents(tmp_path):
    (tmp_path / "a").write_bytes(b"1")
    first = digest(tmp_path)
    (tmp_path / "b").write_bytes(b"2")
    both = digest(tmp_path)
    (tmp_path / "b").write_bytes(b"3")
    assert len({first, both, digest(tmp_path)}) == 3
    (tmp_path / "b").unlink()
    assert digest(tmp_path) == first


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="it forks, and limits the size of files")
def test_nothing_is_lost():
    command = ["interrupt_training", "--kills", "6", "--resumes", "3", "--seed", "5"]
    result = subprocess.run(
        [sys.executable, ROOT / "scripts" / command[0], *command[1:]],
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.startswith("seed 5\n")
    totals = re.findall(
        r"^(.+?) +all +(\d+) +(\d+) +(\d+) +(\d+) +(\d+) +(\d+)$", result.stdout, re.M
    )
    assert [name for name, *_ in totals] == ["bigru-tagger train", "spacy train"]
    for _, *numbers in totals:
        n, best, none_yet, other, resumed, same = map(int, numbers)
        assert n == best + none_yet >= 6
        assert other == 0
        assert resumed == same == 3
