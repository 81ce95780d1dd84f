from collections import Counter

from oracle import evaluate_sentences

from bigru_tagger.report.matching import match_example
from bigru_tagger.report.surface_forms import (
    Confusion,
    SurfaceForm,
    find_surface_forms,
    frequent_confusions,
    inconsistent,
)


def matched(*sentences):
    return [match_example(eg) for eg in evaluate_sentences(*sentences).examples]


def test_a_text_is_counted_wherever_it_occurs():
    docs = matched(
        ("Kew fell", [(0, 1, "LOC")], [(0, 1, "LOC")]),
        ("In Kew rain", [(1, 2, "ORG")], []),
        ("To Kew again", [], [(1, 2, "LOC")]),
        ("Kew Gardens fell", [(0, 2, "LOC")], [(0, 1, "LOC")]),
        ("Old Kew Gardens", [(1, 3, "LOC")], [(1, 3, "LOC")]),
    )
    forms = {form.text: form for form in find_surface_forms(docs)}
    # In the last two, Kew is a part of a longer gold entity; in the last, also of a predicted one.
    assert forms == {
        "Kew": SurfaceForm("Kew", Counter(LOC=1, ORG=1, none=1), Counter(LOC=3, none=1)),
        "Kew Gardens": SurfaceForm("Kew Gardens", Counter(LOC=2), Counter(LOC=1)),
    }
    assert inconsistent(forms.values(), "gold") == [forms["Kew"]]
    assert inconsistent(forms.values(), "predicted") == []


def test_a_text_at_the_end_of_a_doc_counts_once():
    docs = matched(
        ("Kew Gardens fell", [(0, 2, "LOC")], [(0, 2, "LOC")]),
        ("To Kew", [(1, 2, "LOC")], []),
    )
    assert find_surface_forms(docs) == [
        SurfaceForm("Kew Gardens", Counter(LOC=1), Counter(LOC=1)),
        SurfaceForm("Kew", Counter(LOC=1), Counter(none=1)),
    ]


def test_texts_with_most_minority_types_come_first():
    forms = [
        SurfaceForm("a", Counter(A=5, B=1), Counter(A=6)),
        SurfaceForm("b", Counter(A=2, B=2, C=2), Counter(A=6)),
        SurfaceForm("c", Counter(A=6), Counter(A=3, none=3)),
        SurfaceForm("d", Counter(A=6), Counter(A=6)),
    ]
    assert [form.text for form in inconsistent(forms, "gold")] == ["b", "a"]
    # Texts with several gold types are only in the first list.
    assert [form.text for form in inconsistent(forms, "predicted")] == ["c"]


def test_the_same_error_several_times():
    docs = matched(
        ("Kew fell", [(0, 1, "LOC")], [(0, 1, "ORG")]),
        ("Then Kew fell", [(1, 2, "LOC")], [(1, 2, "ORG")]),
        ("Kew rose", [(0, 1, "LOC")], [(0, 1, "PER")]),
        ("Go to Kew Gardens", [(2, 4, "LOC")], [(2, 3, "LOC")]),
        ("See Kew Gardens", [(1, 3, "LOC")], [(1, 2, "LOC")]),
        ("Be Kew Gardens", [(1, 3, "LOC")], [(1, 2, "LOC")]),
        ("Rain fell", [], [(0, 1, "PER")]),
    )
    assert frequent_confusions(docs) == [
        Confusion("wrong boundaries", ("Kew Gardens", "LOC"), ("Kew", "LOC"), 3),
        Confusion("wrong type", ("Kew", "LOC"), ("Kew", "ORG"), 2),
    ]
    assert frequent_confusions(docs, at_least=1)[-1] == Confusion(
        "spurious", None, ("Rain", "PER"), 1
    )


def test_tokens_without_gold_annotation_do_not_count():
    (doc,) = matched(("Kew and Kew", [(0, 1, "LOC")], [(0, 1, "LOC"), (2, 3, "LOC")]))
    (form,) = find_surface_forms([doc._replace(unknown=frozenset({2}))])
    assert (form.gold, form.predicted) == (Counter(LOC=1), Counter(LOC=1))
