from oracle import evaluate_sentences

from bigru_tagger.report.analysis import analyse
from bigru_tagger.report.evaluation_sections import make_report
from bigru_tagger.report.render import render_markdown


def markdown_of(*sentences, **names):
    evaluation = evaluate_sentences(*sentences, **names)
    analysis = analyse(evaluation, confidence=["confidence"])
    about = {"model": "a|b", "command": "bigru-tagger evaluate `m`"}
    return render_markdown(make_report(evaluation, [analysis], about, plots=False))


def test_gold_and_predicted_are_on_consecutive_lines():
    text = markdown_of(
        ("Ada left Kew today", [(0, 1, "PER"), (2, 3, "LOC")], [(2, 3, "ORG", 0.75)]),
        model="my_model",
    )
    assert text.startswith("# my\\_model\n\non d, split dev\n\n- F1: 0.00\n")
    block = "\n".join(
        [
            "### LOC predicted as ORG: 1",
            "",
            "```text",
            "Doc 1, probability 0.750",
            "  gold       [PER Ada] left [LOC Kew] today",
            "  predicted  Ada left [ORG Kew] today",
            "```",
        ]
    )
    assert block in text


def test_tables_have_a_rule_and_as_many_cells_in_each_row():
    text = markdown_of(("Ada | left", [(0, 1, "P|R")], [(0, 1, "P|R")]))
    tables = [part.splitlines() for part in text.split("\n\n") if part.startswith("| ")]
    assert len(tables) > 5
    for table in tables:
        pipes = {line.replace("\\|", "").count("|") for line in table}
        assert len(pipes) == 1
        assert set(table[1]) <= set("|-: ")
    assert "| P\\|R | 100.00 | 100.00 | 100.00 | 1 | 1 | 1 |" in text


def test_markup_in_the_data_is_escaped():
    text = markdown_of(
        ("``` <b> *x*", [(0, 1, "A*")], [(1, 2, "A*")]), ("``` again", [(0, 1, "A*")], [])
    )
    # Unchanged in a block with a longer fence, and escaped elsewhere.
    assert "````text\nDoc 1\n  gold       [A* ```] <b> *x*\n" in text
    assert "| \\`\\`\\` | A\\* | none | missing | 2 |" in text
    assert text.count("````") % 2 == 0


def test_plots_are_left_out():
    text = markdown_of(("Ada left", [(0, 1, "PER")], [(0, 1, "PER", 0.5)]))
    assert "<svg" not in text
    assert "### Precision by probability\n\n| mean probability | precision | predictions |" in text
    assert "| 50.00 | 100.00 | 1 |" in text
