"""The comparison of two systems as text, and as sections of a report."""

import pytest
from test_system_comparison import DOCS, A, B, evaluation

from bigru_tagger.report.blocks import Paragraph, Piece, Report, Table, VersionList
from bigru_tagger.report.comparison_sections import comparison_facts, comparison_sections
from bigru_tagger.report.comparison_text import explain, render_comparison
from bigru_tagger.report.render import render_markdown, render_page
from bigru_tagger.report.system_comparison import compare_systems, short_names

# What the report shows for the second document, where only B finds an entity.
ONLY_B = {"gold, B": [Piece(""), Piece("Kew", "LOC", True), Piece(" "), Piece("fell")]}


@pytest.fixture(scope="module")
def comparison():
    return compare_systems(A, B, n_trials=1000)


def test_text(comparison):
    lines = render_comparison(comparison).splitlines()
    assert lines[:2] == ["A   A", "B   B"]
    rows = [line.split() for line in lines]
    assert ["all", "precision", "100.00", "50.00", "+50.00", "[−100.00,", "+100.00]"] in [
        row[:-1] for row in rows
    ]
    # A finds 3 of 4 and has no wrong predictions: F1 6/7. B finds 2 of 4 and has two wrong: 1/2.
    assert ["F1", "85.71", "50.00", "+35.71"] in [row[:4] for row in rows]
    assert ["PER", "precision", "100.00", "100.00", "+0.00", "[+0.00,", "+0.00]", "1.0000"] in rows
    assert ["recall", "100.00", "50.00", "+50.00", "[+50.00,", "+50.00]", "1.0000"] in rows
    assert ["gold,", "found", "by", "4", "1", "2", "1", "0"] in rows
    assert ["wrong,", "predicted", "by", "2", "0", "0", "2"] in rows
    text = "\n".join(lines)
    assert text.endswith(
        "Correct only in A (2):\n"
        "  Ada met [Eve]PER\n"
        "      B: LOC Eve\n"
        "  Rain in [Oslo]LOC\n"
        "      B: nothing\n"
        "\n"
        "Correct only in B (1):\n"
        "  [Kew]LOC fell\n"
        "      A: nothing"
    )


def test_intervals_and_p_are_explained(comparison):
    text = explain(comparison, comparison.tasks["entities"])
    assert "2,000 paired bootstrap resamples of 3 documents" in text
    assert "1,000 trials of paired approximate randomisation" in text
    # Two of the eight ways to swap three documents do not change the absolute difference.
    assert "p is hardly ever below 0.25" in text
    assert "several seeds" in text
    assert "significant" not in text
    one = compare_systems(*(evaluation(DOCS, side, cuts=[3]) for side in (1, 2)))
    assert explain(one, one.tasks["entities"]).startswith(
        "There are no intervals and p-values, because"
    )
    assert "F1" in render_comparison(one)
    many = [DOCS[i % 3] for i in range(20)]
    enough = compare_systems(*(evaluation(many, side) for side in (1, 2)))
    assert "hardly ever" not in explain(enough, enough.tasks["entities"])


def test_documents_of_one_sentence_get_a_note():
    sides = [evaluation(DOCS, side) for side in (1, 2)]
    for lengths, single in ((None, True), ([5, 3], False)):
        found = compare_systems(*sides, document_lengths=lengths)
        assert found.tasks["entities"].sentences == 3
        assert (
            "each document is one sentence" in explain(found, found.tasks["entities"])
        ) == single


def test_long_sentences_and_lists_are_cut_in_the_text():
    words = [f"w{i}" for i in range(40)]
    spans = [("X", i, i + 1) for i in range(0, 36, 3)]
    docs = [(" ".join(words), spans, spans, []), ("Kew", [("X", 0, 1)], [], [("X", 0, 1)])]
    sides = (evaluation(docs, side, model=model) for side, model in ((1, "A"), (2, "B")))
    text = render_comparison(compare_systems(*sides))
    assert "Correct only in A (12):" in text
    assert text.count("      B: nothing") == 10
    assert "  and 2 more; see --json or --report" in text
    assert "… w1 w2 w3 w4 w5 w6 w7 w8 [w9]X w10 w11 w12 w13 w14 w15 w16 w17 …" in text
    assert "\n  [w0]X w1 w2 w3 w4 w5 w6 w7 w8 …\n" in text


def test_sections(comparison):
    (section,) = comparison_sections(comparison)
    assert (section.name, section.title) == ("entities-against", "A against B")
    lead, about, scores, meaning, overlap, only_a, only_b = section.blocks
    start = "The F1 of A is 85.71, that of B is 50.00: a difference of +35.71 points"
    assert lead.text.startswith(start)
    assert about == Paragraph("The other sections of this report describe A.", small=True)
    assert isinstance(scores, Table)
    assert [row[0].text for row in scores.rows if row[0].text] == ["all", "LOC", "PER"]
    assert [cell.text for cell in scores.rows[2]][1:5] == ["F1", "85.71", "50.00", "+35.71"]
    assert meaning.text == explain(comparison, comparison.tasks["entities"])
    assert [cell.text for cell in overlap.rows[0]][1:] == ["4", "1", "2", "1", "0"]
    assert isinstance(only_a, VersionList)
    assert (only_a.title, len(only_a.sentences)) == ("Correct only in A", 2)
    assert list(only_a.sentences[0]) == ["gold, A", "B"]
    assert only_a.sentences[0]["B"][-2:] == [Piece(" "), Piece("")]
    assert Piece("Ada", "PER", False) in only_a.sentences[0]["B"]
    assert Piece("Eve", "LOC", True) in only_a.sentences[0]["B"]
    assert only_b.sentences == [{**ONLY_B, "A": [Piece("Kew fell")]}]
    (fact,) = comparison_facts(comparison)
    assert (fact[0], fact[1].text) == ("F1, A − B", "+35.71")


def test_page_and_markdown(comparison):
    docs = [
        ("<b>Ada</b> met Eve", [("PER", 0, 1)], [("PER", 0, 1)], []),
        ("Kew fell", [("LOC", 0, 1)], [], [("LOC", 0, 1)]),
    ]
    sides = [evaluation(docs, side, model=f"<{side}>") for side in (1, 2)]
    sections = comparison_sections(compare_systems(*sides, n_resamples=10, n_trials=10))
    report = Report("title", "subtitle", [], sections)
    page = render_page(report)
    assert "&lt;1&gt; against &lt;2&gt;" in page
    assert "&lt;b&gt;Ada&lt;/b&gt;<i>PER</i></mark>" in page
    assert "<b>Ada" not in page
    assert "<summary>Correct only in &lt;1&gt; <small>1</small></summary>" in page
    text = render_markdown(report)
    assert "### Correct only in \\<1\\>: 1\n\n```text\n1\n  gold, <1>  [PER" in text
    assert "  <2>        <b>Ada</b> met Eve\n```" in text


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (("output/one/model-best", "output/two/model-best"), ("one", "two")),
        (("output/my/model-best", "output/my/model-last"), ("model-best", "model-last")),
        (("a", "b.txt"), ("a", "b.txt")),
        (("out/a", "a"), ("out/a", "a")),
        (("out/x/seed1/model", "out/y/seed2/model"), ("x/seed1", "y/seed2")),
        (("/home/ada/out/one/model-best", "/home/ada/out/two/model-best"), ("one", "two")),
        (("/home/ada/out/one/model-best", "/data/two/model-best"), ("out/one", "data/two")),
        (("/home/ada/out/one/model-best", "en_core_web_sm"), ("one/model-best", "en_core_web_sm")),
        (("/home/ada/out/one", "out/one"), ("/home/ada/out/one", "out/one")),
        (("en_core_web_sm", "en_core_web_sm"), ("en_core_web_sm (1)", "en_core_web_sm (2)")),
    ],
)
def test_names_of_systems(paths, names):
    assert short_names(*paths) == names
