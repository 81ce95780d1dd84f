"""What is read can be written again, byte for byte."""

from pathlib import Path

import pytest
import spacy
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from spacy.tokens import DocBin

from benchmarks.mutations.cases import Record, read_records, record_of
from benchmarks.mutations.columns import FORMATS, Format, tags_of, write
from bigru_tagger.corpus.convert import convert
from bigru_tagger.schemes import entity_spans, to_iob2

NLP = spacy.blank("xx")
WORDS = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=6).filter(
    lambda word: word[0] not in "#-" and "\ufeff" not in word
)
TAGS = st.text("ABCXYZ", min_size=1, max_size=3)
NAMES = {"w": "tokens", "t": "pos", "c": "chunk", "e": "ner", "m": "ner"}


@st.composite
def spans(draw, length):
    """Draw spans from left to right, some of which are adjacent."""
    found, position = [], 0
    while position < length:
        end = draw(st.integers(position + 1, length))
        if draw(st.booleans()):
            found.append((position, end, draw(st.sampled_from(["NP", "A-B", "a", "O", "I"]))))
        position = end
    return tuple(found)


@st.composite
def records(draw):
    words = draw(st.lists(WORDS, min_size=1, max_size=6))
    tags = tuple(draw(st.lists(TAGS, min_size=len(words), max_size=len(words))))
    return Record(tuple(words), draw(spans(len(words))), draw(spans(len(words))), tags)


@pytest.mark.parametrize("scheme", ["IOB1", "IOB2", "IOBES", "BILUO"])
@given(data=st.data())
def test_spans_are_the_same_after_any_scheme(scheme, data):
    length = data.draw(st.integers(0, 8))
    expected = data.draw(spans(length))
    tags = tags_of(expected, length, scheme)
    found = [(start, end, label) for label, start, end in entity_spans(to_iob2(tags, scheme))]
    assert tuple(found) == expected


def lines_of(format: Format, found: list[Record]) -> bytes:
    return "".join(f"{line}\n" for line in write(format, found)).encode()


@pytest.mark.parametrize("format", FORMATS, ids=str)
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=8
)
@given(sentences=st.lists(records(), min_size=1, max_size=4))
def test_a_file_is_the_same_after_reading_and_converting(format, sentences, tmp_path):
    """White space, comments and the names of columns that are skipped are not kept."""
    # The last column of CoNLL-U holds entities if there is one.
    assume("m" not in format.columns or any(sentence.entities for sentence in sentences))
    path: Path = tmp_path / f"x{format.ending}"
    content = lines_of(format, sentences)
    path.write_bytes(content)
    options = {
        "columns": [NAMES.get(name, "_") for name in format.columns],
        "scheme": format.scheme,
        "separator": "\t" if format.separator == "\t" else None,
    }
    assert lines_of(format, read_records(path, NLP, **options)) == content
    convert(str(path), tmp_path / "out", progress=False, **options)
    docs = DocBin().from_disk(tmp_path / "out" / "x.spacy").get_docs(spacy.blank("xx").vocab)
    assert lines_of(format, [record_of(doc) for doc in docs]) == content
