import pytest
from oracle import evaluate_sentences
from spacy.tokens import Doc, Span
from spacy.training import Example
from spacy.vocab import Vocab

from bigru_tagger.report.blocks import Piece
from bigru_tagger.report.excerpts import CONTEXT, group_errors
from bigru_tagger.report.matching import match_example

VOCAB = Vocab()


def groups_of(*sentences, starts=None):
    result = evaluate_sentences(*sentences, starts=starts)
    numbered = enumerate(result.examples, start=1)
    docs = [match_example(eg, confidence=["confidence"], number=i) for i, eg in numbered]
    return group_errors(docs)


def text_of(pieces):
    return "".join(piece.text for piece in pieces)


def test_an_error_is_shown_in_its_sentence_with_the_other_entities():
    (group,) = groups_of(
        (
            "Rain . Ada left Kew today . Eve came .",
            [(2, 3, "PER"), (4, 5, "LOC"), (7, 8, "PER")],
            [(2, 3, "PER", 0.9), (4, 5, "ORG", 0.25), (7, 8, "PER", 0.9)],
        ),
        starts={0, 2, 7},
    )
    assert (group.kind, group.gold, group.predicted) == ("wrong type", "LOC", "ORG")
    assert group.title == "LOC predicted as ORG"
    (excerpt,) = group.excerpts
    assert (excerpt.place, excerpt.probability) == ("Doc 1, sentence 2", 0.25)
    assert excerpt.gold == [
        Piece("Ada", "PER"),
        Piece(" "),
        Piece("left "),
        Piece("Kew", "LOC", True),
        Piece(" "),
        Piece("today . "),
    ]
    assert [piece.label for piece in excerpt.predicted if piece.focus] == ["ORG"]


def test_groups_and_their_order():
    groups = groups_of(
        ("Ada one", [(0, 1, "PER")], []),
        ("Eve two", [(0, 1, "PER")], []),
        ("Kew three", [], [(0, 1, "LOC", 0.5)]),
        ("Kew four", [], [(0, 1, "LOC", 0.75)]),
        ("Kew five", [], [(0, 1, "LOC")]),
        ("New York six", [(0, 2, "LOC")], [(0, 1, "LOC")]),
        ("New York seven", [(0, 2, "LOC")], [(1, 2, "ORG")]),
    )
    assert [(group.title, len(group.excerpts)) for group in groups] == [
        ("LOC spurious", 3),
        ("PER missing", 2),
        ("LOC with wrong boundaries", 1),
        ("LOC predicted as ORG, with wrong boundaries", 1),
    ]
    # The most probable prediction first, and errors without a probability last.
    assert [own.place for own in groups[0].excerpts] == ["Doc 4", "Doc 3", "Doc 5"]
    assert [own.probability for own in groups[1].excerpts] == [None, None]


def test_a_sentence_start_within_an_entity_does_not_cut_it():
    ((excerpt,),) = (
        group.excerpts
        for group in groups_of(("I saw New York fall . So", [(2, 4, "LOC")], []), starts={0, 3, 6})
    )
    assert text_of(excerpt.gold) == "I saw New York fall . "
    assert excerpt.gold[1] == Piece("New York", "LOC", True)


def test_long_sentences_are_cut():
    words = [f"w{i}" for i in range(200)]
    ((excerpt,),) = (
        group.excerpts for group in groups_of((" ".join(words), [(100, 101, "A")], []))
    )
    text = text_of(excerpt.predicted).split()
    assert text == ["…", *words[100 - CONTEXT : 101 + CONTEXT], "…"]
    ((excerpt,),) = (group.excerpts for group in groups_of((" ".join(words), [(0, 1, "A")], [])))
    assert text_of(excerpt.gold).split() == [*words[: 1 + CONTEXT], "…"]


@pytest.mark.parametrize("focus", [0, 1])
def test_of_two_predictions_in_one_token_the_one_in_focus_is_shown(focus):
    gold = Doc(VOCAB, words=["haha", "fell"], spaces=[True, False], ents=["O", "O"])
    predicted = Doc(VOCAB, words=["ha", "ha", "fell"], spaces=[False, True, False])
    predicted.set_ents([Span(predicted, 0, 1, "A"), Span(predicted, 1, 2, "B")])
    groups = group_errors([match_example(Example(predicted, gold))])
    label = "AB"[focus]
    (group,) = (group for group in groups if group.predicted == label)
    assert group.excerpts[0].predicted[0] == Piece("haha", f"{label}: ha", True)


def test_a_document_without_errors():
    assert groups_of(("Ada came", [(0, 1, "PER")], [(0, 1, "PER")])) == []
