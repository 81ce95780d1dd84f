import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bigru_tagger.schemes import biluo_tags, entity_spans, iob2_tags, to_iob2
from bigru_tagger.tag_arrays import Spans, TagParts


@pytest.mark.parametrize(
    ("tags", "lengths", "expected"),
    [
        ("B-X I-X L-X U-X O U-Y", [6], [(0, 3, "X"), (3, 4, "X"), (5, 6, "Y")]),
        # conlleval's rules: a tag that does not continue a span starts a new one.
        ("I-X L-X L-X I-Y O L-Y", [6], [(0, 2, "X"), (2, 3, "X"), (3, 4, "Y"), (5, 6, "Y")]),
        ("B-X U-X I-X", [3], [(0, 1, "X"), (1, 2, "X"), (2, 3, "X")]),
        # No span crosses the end of a sequence or a token without a tag.
        ("B-X I-X L-X", [0, 2, 0, 1], [(0, 2, "X"), (2, 3, "X")]),
        ("B-X - L-X", [3], [(0, 1, "X"), (2, 3, "X")]),
        ("", [0], []),
    ],
)
def test_tag_indices_are_converted_to_spans(tags, lengths, expected):
    names = biluo_tags("XY")
    columns = np.array([-1 if tag == "-" else names.index(tag) for tag in tags.split()], dtype=int)
    spans = Spans.read(columns, lengths)
    found = zip(spans.start, spans.end, ("XY"[label] for label in spans.label), strict=True)
    assert list(found) == expected


@pytest.mark.parametrize("scheme", ["BILUO", "IOB2"])
@given(data=st.data(), lengths=st.lists(st.integers(0, 6), min_size=1, max_size=4))
def test_tag_indices_and_tag_names_give_the_same_spans(scheme, data, lengths):
    names = {"BILUO": biluo_tags, "IOB2": iob2_tags}[scheme](["X", "Y"])
    columns = data.draw(
        st.lists(st.integers(0, len(names) - 1), min_size=sum(lengths), max_size=sum(lengths)).map(
            lambda numbers: np.array(numbers, dtype=np.int64)
        )
    )
    expected, begin = [], 0
    for length in lengths:
        iob2 = to_iob2([names[column] for column in columns[begin : begin + length]], scheme)
        expected += [(begin + i, begin + j, label) for label, i, j in entity_spans(iob2)]
        begin += length
    spans = Spans.read(columns, lengths, scheme)
    found = zip(spans.start, spans.end, ("XY"[label] for label in spans.label), strict=True)
    assert list(found) == expected
    for other in ("BILUO", "IOB2"):
        again = Spans.read(spans.write(len(columns), other), lengths, other)
        assert [part.tolist() for part in again] == [part.tolist() for part in spans]


def test_parts_of_tags():
    parts = TagParts.of(["U-X", "O", "L-Y", "I-X", "B-Y"])
    assert parts.label[0] == parts.label[3]
    assert parts.label[2] == parts.label[4]
    assert len(set(parts.label.tolist())) == 3
    assert parts.continues.tolist() == [False, False, True, True, False]
    assert parts.opens.tolist() == [False, False, False, True, True]
    assert parts.bounds.tolist() == [True, False, True, False, True]
