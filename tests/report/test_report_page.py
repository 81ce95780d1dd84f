import json
import re
from html.parser import HTMLParser

import pytest
import spacy
from oracle import evaluate_sentences

from bigru_tagger.corpus.corpus import AnyCorpus
from bigru_tagger.report.analysis import analyse
from bigru_tagger.report.evaluation_sections import make_report
from bigru_tagger.report.render import render_page
from bigru_tagger.scoring.run import evaluate

VOID = {"meta", "input", "path", "use", "rect"}


class Page(HTMLParser):
    """The tags of a page: each must be closed, and in its order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.ids, self.data = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.ids += [value for name, value in attrs if name == "id"]

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("script", "style"):
            self.data.append(data)

    def all(self, tag, **attrs):
        expected = {name.rstrip("_").replace("_", "-"): value for name, value in attrs.items()}
        return [
            own for own_tag, own in self.tags if own_tag == tag and expected.items() <= own.items()
        ]


def page_of(*sentences, plots=True, **names):
    evaluation = evaluate_sentences(*sentences, **names)
    analysis = analyse(evaluation, confidence=["confidence"])
    return render_page(make_report(evaluation, [analysis], {"command": "c"}, plots=plots))


EVIL = "<script>alert('&amp;')</script>"


@pytest.fixture(scope="module")
def page():
    text = page_of(
        (
            f"{EVIL} met Ada",
            [(0, 1, "A&B"), (2, 3, "PER")],
            [(0, 1, '"<b>', 0.9), (2, 3, "PER", 0.5)],
        ),
        ("Ada left Kew", [(0, 1, "PER"), (2, 3, "LOC")], [(2, 3, "PER", 0.75)]),
        ("Ada and Ada", [(0, 1, "PER")], [(0, 1, "PER", 0.25), (2, 3, "PER", 0.25)]),
        model=EVIL,
        data="d&d",
    )
    return text, Page(text)


def test_everything_is_escaped(page):
    text, parsed = page
    assert EVIL not in text
    assert text.count("<script>") == 1
    assert EVIL in "".join(parsed.data)
    # Each of four errors has two bold names. The type "<b> is escaped.
    assert text.count("<b>") == 8
    assert {"A&B", '"<b>'} <= set(parsed.data)


def test_it_loads_no_other_files(page):
    text, parsed = page
    for attribute in ("src", "action", "srcset", "data", "poster"):
        assert not [tag for tag, own in parsed.tags if attribute in own]
    assert not parsed.all("link")
    assert not re.search(r"@import|url\((?!#)|https?:|//[a-z]+\.", text)
    addresses = [own["href"] for tag, own in parsed.tags if "href" in own]
    assert addresses
    for address in addresses:
        assert address[0] == "#"
        assert address[1:] in parsed.ids


def test_no_two_ids_are_the_same(page):
    _, parsed = page
    assert len(set(parsed.ids)) == len(parsed.ids)


def test_it_is_for_phones_and_both_colour_schemes(page):
    text, parsed = page
    assert parsed.all("meta", name="viewport", content="width=device-width, initial-scale=1")
    assert "prefers-color-scheme: dark" in text
    assert len(parsed.all("table")) == len(parsed.all("div", class_="scroll"))
    assert "#1c2733" not in "".join(re.findall(r"<svg.*?</svg>", text, re.DOTALL))


def test_plots_have_descriptions(page):
    _, parsed = page
    plots = parsed.all("svg", role="img")
    assert len(plots) == 3
    assert plots[0]["aria-label"].startswith("F1 by type: PER")
    # Two of the five predictions are correct: Ada in the first and in the third sentence.
    assert "Without a threshold, precision is 40.00 %." in plots[2]["aria-label"]


def test_every_error_has_the_data_for_its_filters(page):
    _, parsed = page
    groups = parsed.all("details")
    assert all("open" in own for own in groups)  # so that they can be read without JavaScript
    options = [own["value"] for own in parsed.all("option")]
    kinds = {(own["data-kind"], own["data-types"]) for own in groups}
    # In the order of the menu: PER has three gold entities, A&B and LOC one each, "<b> none.
    assert options[:5] == ["", "0", "1", "2", "3"]
    assert kinds == {
        ("wrong type", "3 1"),
        ("missing", "0"),
        ("wrong type", "2 0"),
        ("spurious", "0"),
    }
    errors = parsed.all("li", class_="error")
    assert [own.get("data-p") for own in errors] == ["0.900000", None, "0.750000", "0.250000"]
    focused = [own for own in parsed.all("mark") if "focus" in own["class"].split()]
    assert len(focused) == 2 * 2 + 1 + 1
    assert {"dir": "auto"}.items() <= parsed.all("span")[0].items()


def test_right_to_left_text(page):
    parsed = Page(page_of(("\u05d0\u05d1 \u05d2", [(0, 1, "PER")], [])))
    spans = parsed.all("span", dir="auto")
    assert len(spans) == 2
    assert "\u05d0\u05d1" in parsed.data


def test_a_page_with_a_thousand_errors_is_below_two_megabytes():
    sentence = " ".join(f"word{i}" for i in range(25))
    text = page_of(
        *(
            (f"Name{i} {sentence}", [(0, 1, "PER"), (5, 6, "LOC")], [(0, 1, "LOC", 0.5)])
            for i in range(500)
        )
    )
    parsed = Page(text)
    assert len(parsed.all("li", class_="error")) == 1000
    assert len(text.encode()) < 2_000_000
    # No list of texts has more than 15 rows here.
    assert "the first 15 of" not in text
    assert len(parsed.tags) < 20_000


def test_long_lists_of_texts_are_cut_with_a_note():
    text = page_of(
        *((f"{word} Name{i}", [(1, 2, "PER")], []) for i in range(20) for word in ("a", "b"))
    )
    assert "Errors that occur several times (the first 15 of 20)" in text
    assert text.count('<td data-label="times">2</td>') == 15


def test_without_errors_and_without_plots():
    text = page_of(("Ada left", [(0, 1, "PER")], [(0, 1, "PER")]), ("so", [], []), plots=False)
    parsed = Page(text)
    assert not parsed.all("svg")
    assert not parsed.all("li", class_="error")
    assert "There are no errors." in parsed.data
    assert "No error occurs more than once, and no text has several types." in parsed.data


def test_the_summary_leads_with_a_sentence_and_examples():
    words = "one two three four five six seven"
    evaluation = evaluate_sentences(
        (f"{words} Ada {words}", [(7, 8, "PER")], [(7, 8, "LOC", 0.9)]),
        ("Eve left Kew", [(0, 1, "PER"), (2, 3, "LOC")], [(0, 1, "LOC", 0.5), (2, 3, "LOC", 0.5)]),
        ("Bob", [(0, 1, "PER")], []),
    )
    analysis = analyse(evaluation, confidence=["confidence"])
    report = make_report(evaluation, [analysis], {}, plots=False)
    section = report.sections[0]
    assert section.title == "In short"
    text, table = section.blocks
    assert text.text == (
        "The system finds 1 of 4 entities (25.00 %), and 33.33 % of its predictions are right. "
        "Its most frequent error is “PER predicted as LOC”, twice."
    )
    first, second = ([cell.text for cell in row] for row in table.rows)
    example = "… two three four five six seven [Ada] one two three four five six …"
    assert first == ["PER predicted as LOC", example, "2"]
    assert second == ["PER missing", "[Bob]", "1"]


def test_the_summary_without_predictions():
    evaluation = evaluate_sentences(("Ada left", [(0, 1, "PER")], []))
    report = make_report(evaluation, [analyse(evaluation)], {}, plots=False)
    expected = (
        "The system finds 0 of 1 entities (0.00 %). It predicts none. Its most frequent error"
    )
    assert report.sections[0].blocks[0].text.startswith(expected)


def test_documents_have_their_names(tmp_path):
    path = tmp_path / "gold.jsonl"
    rows = [
        {"tokens": ["Ada"], "ner_tags": ["B-PER"], "doc_id": "letter 7"},
        {"tokens": ["Eve"], "ner_tags": ["B-PER"], "doc_id": "8"},
    ]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf8")
    nlp = spacy.blank("en")
    nlp.add_pipe("entity_ruler").add_patterns([{"label": "LOC", "pattern": "Eve"}])
    evaluation = evaluate(nlp, AnyCorpus(str(path))(nlp))
    report = make_report(evaluation, [analyse(evaluation)], {}, plots=False)
    places = [row[1].note for row in report.sections[0].blocks[1].rows]
    assert sorted(places) == ["document 8", "letter 7"]


def test_wide_tables_have_the_names_of_their_columns_in_each_cell(page):
    _, parsed = page
    wide = parsed.all("table", class_="wide") + parsed.all("table", class_="wide heat")
    assert wide
    labels = {own["data-label"] for own in parsed.all("td") if "data-label" in own}
    assert {"precision", "recall", "F1", "times", "missing"} <= labels
