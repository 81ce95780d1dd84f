import pytest
from hypothesis import given
from hypothesis import strategies as st

from bigru_tagger.schemes import (
    BARE_LABEL,
    SCHEMES,
    TagError,
    are_several_tags,
    biluo_spans,
    biluo_tags,
    biluo_to_iob2,
    check_scheme,
    column_labels,
    detect_scheme,
    entity_spans,
    iob2_labels,
    iob2_span_tags,
    iob2_tags,
    is_tag,
    label_of,
    span_tags,
    tag_label,
    to_iob2,
)

# Two adjacent persons ("Ann Lee", "Bob"), a token outside, and a location.
TWO_THEN_ONE = {
    "IOB1": ["I-PER", "I-PER", "B-PER", "O", "I-LOC"],
    "IOB2": ["B-PER", "I-PER", "B-PER", "O", "B-LOC"],
    "IOBES": ["B-PER", "E-PER", "S-PER", "O", "S-LOC"],
    "BILUO": ["B-PER", "L-PER", "U-PER", "O", "U-LOC"],
}
SPANS = [("PER", 0, 2), ("PER", 2, 3), ("LOC", 4, 5)]

labels = st.sampled_from(["PER", "part-of", "B-", "x"])


@st.composite
def iob2_sequences(draw: st.DrawFn) -> list[str]:
    """Generate valid IOB2 sequences: entities of any length, some of them adjacent."""
    tags: list[str] = []
    for label, length in draw(
        st.lists(st.tuples(st.none() | labels, st.integers(1, 4)), max_size=8)
    ):
        if label is None:
            tags += ["O"] * length
        else:
            tags += [f"B-{label}"] + [f"I-{label}"] * (length - 1)
    return tags


def encode(iob2: list[str], scheme: str) -> list[str]:
    """Convert IOB2 to another scheme, by the previous and next tag."""
    encoded = []
    padded = ["O", *iob2, "O"]
    for before, tag, after in zip(padded, iob2, padded[2:], strict=False):
        prefix, _, label = tag.partition("-")
        last = after != f"I-{label}"
        if prefix == "O":
            encoded.append("O")
        elif scheme in ("IOBES", "BILUO"):
            single, end = "SE" if scheme == "IOBES" else "UL"
            if prefix == "B":
                encoded.append(f"{single if last else 'B'}-{label}")
            else:
                encoded.append(f"{end if last else 'I'}-{label}")
        elif scheme == "IOB1" and before[2:] != label:
            encoded.append(f"I-{label}")
        else:
            encoded.append(tag)
    return encoded


@pytest.mark.parametrize("scheme", TWO_THEN_ONE)
def test_each_scheme_is_detected_and_converted(scheme):
    tags = TWO_THEN_ONE[scheme]
    assert detect_scheme([tags]) == scheme
    assert to_iob2(tags, scheme) == TWO_THEN_ONE["IOB2"]
    assert entity_spans(to_iob2(tags, scheme)) == SPANS


@pytest.mark.parametrize("scheme", ["IOB1", "IOB2", "IOBES", "BILUO"])
@given(iob2=iob2_sequences())
def test_round_trip(scheme, iob2):
    assert to_iob2(encode(iob2, scheme), scheme) == iob2


@given(iob2=iob2_sequences())
def test_spans_rebuild_the_tags(iob2):
    rebuilt = ["O"] * len(iob2)
    for label, start, end in entity_spans(iob2):
        rebuilt[start:end] = [f"B-{label}"] + [f"I-{label}"] * (end - start - 1)
    assert rebuilt == iob2


@given(
    tags=st.lists(st.just("O") | st.builds("{}-{}".format, st.sampled_from("BIESLU"), labels)),
    scheme=st.sampled_from(["IOBES", "BILUO"]),
)
def test_any_tags_are_converted_to_valid_iob2(tags, scheme):
    iob2 = to_iob2(tags, scheme)
    assert len(iob2) == len(tags)
    assert [tag[2:] for tag in iob2] == [tag[2:] for tag in tags]
    for before, tag in zip(["O", *iob2], iob2, strict=False):
        assert tag == "O" or tag[0] == "B" or (tag[0] == "I" and before[2:] == tag[2:])
    assert to_iob2(iob2, "IOB2") == iob2


@pytest.mark.parametrize(
    ("sequences", "scheme"),
    [
        ([], "IOB2"),
        ([[]], "IOB2"),
        ([["O", "O"]], "IOB2"),
        ([["I-X", "I-X", "O", "I-Y"]], "IO"),
        ([["B-X", "O"]], "IOB2"),
        ([["B-X", "B-X"]], "IOB2"),
        ([["I-X", "B-X"]], "IOB1"),
        ([["I-X"], ["O", "B-X"], ["I-Y"]], "IOB1"),  # IOB1 with one error
        ([["B-X"], ["O", "I-X"], ["B-Y"]], "IOB2"),  # IOB2 with one error
        ([["I-X", "B-Y"]], "IOB2"),  # a tie: the more common scheme
        ([["B-X", "I-X"], ["S-X"]], "IOBES"),
        ([["B-X", "E-X"]], "IOBES"),
        ([["U-X"]], "BILUO"),
        ([["S-X"], ["U-X"]], "BILUO"),
    ],
)
def test_detection(sequences, scheme):
    assert detect_scheme(sequences) == scheme


def test_detection_uses_all_sequences():
    assert detect_scheme([["B-X"]] * 50 + [["B-X", "E-X"]]) == "IOBES"


@pytest.mark.parametrize("scheme", ["IOB1", "IOB2", "IO", "IOBES", "BILUO"])
def test_runs_of_inside_tags(scheme):
    tags = ["I-X", "I-X", "I-Y", "O", "I-Y"]
    assert to_iob2(tags, scheme) == ["B-X", "I-X", "B-Y", "O", "B-Y"]


def test_an_inside_tag_after_an_end_starts_a_new_entity():
    assert to_iob2(["B-X", "E-X", "I-X", "S-X", "E-X"], "IOBES") == [
        *("B-X", "I-X", "B-X", "B-X", "B-X")
    ]


def test_labels_can_contain_hyphens():
    tags = ["B-part-of", "I-part-of", "B-part"]
    assert to_iob2(tags, "IOB2") == tags
    assert entity_spans(tags) == [("part-of", 0, 2), ("part", 2, 3)]


@pytest.mark.parametrize(
    ("tags", "scheme", "iob2"),
    [
        ("B-X - I-X O -", "IOB2", "B-X - B-X O -"),
        ("- I-X I-X - I-X", "IO", "- B-X I-X - B-X"),
        ("U-X - B-X L-X", "BILUO", "B-X - B-X I-X"),
        ("X - O X X", "IO", "B-X - O B-X I-X"),
    ],
)
def test_a_hyphen_is_an_unknown_tag(tags, scheme, iob2):
    assert to_iob2(tags.split(), scheme) == iob2.split()
    if not tags.startswith("X"):
        assert detect_scheme([tags.split()]) == scheme
    spans = entity_spans(iob2.split())
    assert [label for label, _, _ in spans] == ["X"] * iob2.count("B-X")


def test_a_column_of_hyphens_holds_no_tags():
    assert column_labels({"-", "O"}) is None
    assert column_labels({"-", "O", "B-X"}) == {"X"}
    assert not is_tag("-")


@pytest.mark.parametrize("tag", ["X-PER", "B-", "", "PER", "0", "-PER", "PER-", "--", 3, None])
@pytest.mark.parametrize(
    "read", [lambda t: detect_scheme([["O"], t]), lambda t: to_iob2(t, "IOB2")]
)
def test_tag_that_is_invalid_in_all_schemes(tag, read):
    with pytest.raises(TagError, match="position 1: valid tags are 'O', 'B-LABEL'") as raised:
        read(["O", tag])
    assert repr(tag) in str(raised.value)
    assert raised.value.position == 1


def test_tag_of_another_scheme():
    with pytest.raises(
        TagError, match=r"'S-X' at position 0: valid tags are 'O', 'B-LABEL', 'I-LABEL'$"
    ):
        to_iob2(["S-X"], "IOB2")


def test_scheme_names():
    assert check_scheme("bilou") == "BILUO"
    assert check_scheme("BMES") == check_scheme("bmewo") == check_scheme("BIOES") == "IOBES"
    assert [check_scheme(scheme.lower()) for scheme in SCHEMES] == list(SCHEMES)
    with pytest.raises(ValueError, match="unknown tag scheme 'IOB': use one of IOB1, IOB2"):
        to_iob2([], "IOB")


# The entities of `TWO_THEN_ONE` in several notations.
NOTATIONS = {
    "BMES": ["B-PER", "E-PER", "S-PER", "O", "S-LOC"],
    "BMEWO": ["B-PER", "E-PER", "W-PER", "O", "W-LOC"],
    "lower case": ["b-PER", "i-PER", "b-PER", "o", "b-LOC"],
    "joined by _": ["B_PER", "I_PER", "B_PER", "O", "B_LOC"],
    "suffixes": ["PER-B", "PER-I", "PER-B", "O", "LOC-B"],
    "suffixes joined by _": ["PER_B", "PER_E", "PER_S", "O", "LOC_S"],
}


@pytest.mark.parametrize("notation", NOTATIONS)
def test_each_notation_is_read(notation):
    tags = NOTATIONS[notation]
    assert to_iob2(tags, detect_scheme([tags])) == TWO_THEN_ONE["IOB2"]
    assert column_labels(set(tags)) == {"PER", "LOC"}


def test_middle_tags_are_inside_tags():
    tags = ["B-X", "M-X", "M-X", "E-X", "M-X"]
    assert detect_scheme([tags]) == "IOBES"
    assert to_iob2(tags, "BMES") == ["B-X", "I-X", "I-X", "I-X", "B-X"]
    with pytest.raises(TagError, match="'M-X' at position 1"):
        to_iob2(tags, "IOB2")


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        (["B", "I", "O", "B", "B"], ["B", "I", "O", "B", "B"]),
        (["B", "E", "S", "O", "S"], ["B", "I", "B", "O", "B"]),
        (["I", "I", "O"], ["B", "I", "O"]),
        (["b", "i", "o", "b"], ["B", "I", "O", "B"]),
        (["b", "e", "o", "s", "S"], ["B", "I", "O", "B", "B"]),
    ],
)
def test_prefixes_without_a_label_have_the_bare_label(tags, expected):
    iob2 = to_iob2(tags, detect_scheme([tags]))
    assert iob2 == [tag if tag == "O" else f"{tag}-{BARE_LABEL}" for tag in expected]


@pytest.mark.parametrize(
    "tags", [["B-PER", "I"], ["B", "B-PER"], ["PER-B", "PER-I", "B-LOC"], ["O", "PER-B", "I"]]
)
def test_mixed_notations_raise(tags):
    with pytest.raises(TagError, match=repr(next(t for t in reversed(tags) if t != "O"))):
        detect_scheme([tags])
    assert column_labels(set(tags)) is None


def test_a_letter_at_the_end_of_a_label_is_not_a_suffix():
    tags = ["O", "vitamin-B", "type-I"]
    with pytest.raises(TagError, match=r'position 1: .* have no prefixes, set scheme = "io"'):
        detect_scheme([tags])
    assert to_iob2(tags, "IO") == ["O", "B-vitamin-B", "B-type-I"]


def test_labels_without_prefixes():
    tags = ["PER", "PER", "LOC", "O", "LOC", "I-LOC", "part-of", "e-mail"]
    with pytest.raises(TagError, match=r"'PER' at position 0: .*, set scheme = .io."):
        detect_scheme([tags])
    assert to_iob2(tags, "io") == [
        *("B-PER", "I-PER", "B-LOC", "O", "B-LOC", "I-LOC", "B-part-of", "B-e-mail")
    ]
    for tag in ("S-LOC", "", "--", None):
        with pytest.raises(TagError, match="position 1"):
            to_iob2(["O", tag], "io")


@given(iob2=iob2_sequences(), notation=st.sampled_from(["{}_{}", "{}-{}"]), lower=st.booleans())
def test_any_notation_round_trips(iob2, notation, lower):
    def write(tag):
        if tag == "O":
            return "o" if lower else "O"
        return notation.format(tag[0].lower() if lower else tag[0], tag[2:])

    for scheme in ("IOB2", "IOBES"):
        assert to_iob2([write(tag) for tag in encode(iob2, scheme)], scheme) == iob2


@given(iob2=iob2_sequences())
def test_bmes_round_trips(iob2):
    bmes = [tag.replace("I-", "M-", 1) if tag[0] == "I" else tag for tag in encode(iob2, "IOBES")]
    assert to_iob2(bmes, "BMES") == iob2


def test_prefixes_are_not_labels_in_the_scheme_io():
    tags = ["B_PER", "I_PER", "b-PER", "i_PER", "o", "b", "i", "B", "PER"]
    assert to_iob2(tags, "io") == [
        *("B-PER", "I-PER", "B-PER", "I-PER", "O"),
        *(f"{prefix}-{BARE_LABEL}" for prefix in "BIB"),
        "B-PER",
    ]
    for tag in ("S_PER", "s-PER", "E-PER", "l_Per"):
        with pytest.raises(TagError, match=f"'{tag}' at position 1"):
            to_iob2(["O", tag], "io")
    assert to_iob2(["e-mail", "s_bend", "u"], "io") == ["B-e-mail", "B-s_bend", "B-u"]


# --- BILUO tags, and arrays of tag indices


def test_the_tags_of_labels():
    assert biluo_tags(["X", "Y-Z"]) == [
        "O",
        *("B-X", "I-X", "L-X", "U-X"),
        *("B-Y-Z", "I-Y-Z", "L-Y-Z", "U-Y-Z"),
    ]
    assert iob2_tags(["X", "Y-Z"]) == ["O", "B-X", "I-X", "B-Y-Z", "I-Y-Z"]
    assert [label_of(tag) for tag in ("O", "B-X", "L-Y-Z", "")] == ["", "X", "Y-Z", ""]


@pytest.mark.parametrize(
    ("tags", "labels"),
    [
        (["O", "B-X", "I-X"], ["X"]),
        (["I-Y", "B-X", "O", "B-Y", "I-X"], ["X", "Y"]),  # in the order of their B-
        (["O"], []),
        (["B-X", "I-X"], None),
        (["O", "B-X"], None),
        (["O", "B-X", "I-X", "I-Y"], None),
        (["O", "B-", "I-"], None),
        (["O", "B-X", "I-X", "O"], None),
    ],
)
def test_the_labels_of_tags(tags, labels):
    assert iob2_labels(tags) == labels


@pytest.mark.parametrize(
    ("length", "biluo", "iob2"),
    [
        (1, ["U-X"], ["B-X"]),
        (2, ["B-X", "L-X"], ["B-X", "I-X"]),
        (4, ["B-X", "I-X", "I-X", "L-X"], ["B-X", "I-X", "I-X", "I-X"]),
    ],
)
def test_one_span(length, biluo, iob2):
    assert span_tags("X", length) == biluo
    assert iob2_span_tags("X", length) == iob2
    assert [biluo_to_iob2(tag) for tag in biluo] == iob2
    assert span_tags("X", 0) == []


def test_spans_of_biluo_tags_with_gaps():
    tags = ["B-X", "L-X", "U-Y", "O", "B-X", None, "L-X", "I-X", "L-X", "B-Y", "O", "L-Y", "U-X"]
    assert list(biluo_spans(tags)) == [("X", 0, 2), ("Y", 2, 3), ("X", 12, 13)]


@pytest.mark.parametrize(
    "text", ["B-ORG|O", "O|O", "I-ORG, B-LOC", "B-A|B-B|I-C", "ORG-B|O", "B-A;-"]
)
def test_several_tags_are_no_tag(text):
    assert are_several_tags(text)
    assert not is_tag(text)
    for read in (lambda tags: detect_scheme([tags]), lambda tags: to_iob2(tags, "IOB2")):
        with pytest.raises(TagError, match="at position 1: several tags of one token"):
            read(["O", text])


@pytest.mark.parametrize(
    ("text", "label"),
    [("B-A|B", "A|B"), ("I_x,y", "x,y"), ("B-A/I-B", "A/I-B"), ("A-E", "A"), ("O", ""), ("-", "")],
)
def test_the_label_of_a_tag(text, label):
    assert tag_label(text) == label
    assert not are_several_tags(text)


def test_a_word_has_no_label():
    assert tag_label("word") == ""
