from collections.abc import Callable
from pathlib import Path

import pytest
from samples import SENTENCES


@pytest.fixture(scope="session")
def make_splits(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Write `SENTENCES` and further lines as column files, for validation and test."""

    def make(further: str) -> Path:
        folder = tmp_path_factory.mktemp("data")
        lines = []
        for text, ents, *_ in SENTENCES:
            words = text.split()
            tags = ["O"] * len(words)
            for start, end, label in ents:
                tags[start:end] = [f"B-{label}", *[f"I-{label}"] * (end - start - 1)]
            lines += [f"{word} {tag}" for word, tag in zip(words, tags, strict=True)] + [""]
        for split in ("validation", "test"):
            path = folder / f"{split}.conll"
            path.write_text("\n".join([*lines, further]), encoding="utf8")
        return folder

    return make
