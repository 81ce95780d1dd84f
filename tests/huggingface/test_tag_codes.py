import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from samples import build

from bigru_tagger.huggingface.tag_codes import TagCodes, set_top_labels

TAGS = ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]
MIXED = ["I-PER", "B-LOC", "O", "B-PER", "I-LOC"]


@pytest.fixture(scope="module")
def ner_pipe():
    return build("bigru_ner").get_pipe("bigru_ner")


@pytest.mark.parametrize("tags", [TAGS, MIXED])
@pytest.mark.parametrize(
    ("labels", "lengths", "expected"),
    [
        ("O B-LOC I-LOC I-LOC O", [5], "O B-LOC I-LOC L-LOC O"),
        ("B-LOC B-LOC I-LOC B-PER", [4], "U-LOC B-LOC L-LOC U-PER"),
        # An I- that does not continue an entity starts one, as in conlleval.
        ("I-LOC I-PER I-PER O I-LOC", [5], "U-LOC B-PER L-PER O U-LOC"),
        # No entity crosses the boundary of a text.
        ("B-LOC I-LOC I-LOC I-LOC", [2, 2], "B-LOC L-LOC B-LOC L-LOC"),
        ("B-LOC I-LOC", [0, 1, 0, 1], "U-LOC U-LOC"),
        # No entity crosses a token without a label.
        ("B-PER - I-PER I-PER", [4], "U-PER - B-PER L-PER"),
        ("", [], ""),
    ],
)
def test_labels_become_the_components_tags(ner_pipe, tags, labels, lengths, expected):
    codes = TagCodes.of(ner_pipe, tags)
    assert sorted(codes.labels) == ["LOC", "PER"]
    names = ["O", *(f"{part}-{label}" for label in codes.labels for part in "BILU")]
    ids = np.array([-100 if tag == "-" else tags.index(tag) for tag in labels.split()], dtype=int)
    found = codes.component_tags(ids, lengths, ignored=-100)
    assert ["-" if column < 0 else names[column] for column in found] == expected.split()


@pytest.mark.parametrize("wrong", [5, -1])
def test_invalid_label_ids_are_refused(ner_pipe, wrong):
    codes = TagCodes.of(ner_pipe, TAGS)
    with pytest.raises(ValueError, match=f"from 0 to 4, or -100; got .*{wrong}"):
        codes.component_tags(np.array([0, wrong]), [2], ignored=-100)


@pytest.mark.parametrize("tags", [TAGS, MIXED])
def test_the_probability_of_a_label_is_the_sum_of_its_tags(ner_pipe, tags):
    codes = TagCodes.of(ner_pipe, tags)
    first, second = codes.labels
    # O, then B, I, L and U of each label: the probabilities are these numbers divided by 36.
    tag_logits = torch.tensor([[1.0, 2, 3, 4, 5, 6, 7, 8, 0]]).log()
    sums = dict(zip(tags, codes.label_logits(tag_logits)[0].exp().tolist(), strict=True))
    assert sums == pytest.approx(
        {"O": 1, f"B-{first}": 7, f"I-{first}": 7, f"B-{second}": 6, f"I-{second}": 15}
    )


@pytest.mark.parametrize(
    "tags",
    [["O"], ["LABEL_0", "LABEL_1"], ["O", "B-LOC"], ["O", "B-", "I-"], ["B-LOC", "I-LOC"]],
)
def test_labels_that_are_not_iob2_are_refused(ner_pipe, tags):
    with pytest.raises(ValueError, match="id2label must contain 'O', and 'B-' and 'I-'"):
        TagCodes.of(ner_pipe, tags)


def test_top_labels_by_hand():
    probabilities = np.array([[0.6, 0.3, 0.1], [0.6, 0.3, 0.1], [0.1, 0.2, 0.7], [0.6, 0.3, 0.1]])
    labels, confidence = np.array([0, 1, 2, 1]), np.array([np.nan, 0.8, 0.4, 0.1])
    adjusted = set_top_labels(probabilities, labels, confidence)
    assert adjusted[0] == pytest.approx([0.6, 0.3, 0.1])  # unchanged
    assert adjusted[1] == pytest.approx([0.2 * 6 / 7, 0.8, 0.2 / 7])  # the others in proportion
    assert adjusted[2] == pytest.approx([0.2, 0.4, 0.4]) or adjusted[2].argmax() == 2
    # A probability below 1/3 cannot be the highest of three.
    assert adjusted[3] == pytest.approx([1 / 3, 1 / 3, 1 / 3], abs=1e-3)
    assert adjusted.argmax(1).tolist() == [0, 1, 2, 1]


@given(data=st.data(), n_labels=st.integers(1, 9))
def test_softmax_in_single_precision_finds_the_top_label(data, n_labels):
    scores = data.draw(st.lists(st.floats(-60, 60), min_size=n_labels, max_size=n_labels))
    label = data.draw(st.integers(0, n_labels - 1))
    confidence = data.draw(st.one_of(st.just(np.nan), st.floats(0, 1)))
    probabilities = np.exp(np.array([scores]) - max(scores))
    probabilities /= probabilities.sum()
    adjusted = set_top_labels(probabilities, np.array([label]), np.array([confidence]))
    logits = torch.from_numpy(np.log(adjusted)).float()
    softmax = torch.softmax(logits, 1)[0]
    assert int(softmax.argmax()) == label
    assert float(softmax.sum()) == pytest.approx(1, abs=1e-4)
    if confidence > 1.001 / n_labels:
        assert float(softmax[label]) == pytest.approx(confidence, abs=1e-4)
