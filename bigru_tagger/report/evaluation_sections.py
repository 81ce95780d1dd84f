"""Make the sections of a report on one system."""

from collections.abc import Mapping, Sequence

from ..scoring.run import Evaluation
from .analysis import Analysis, ModeScores
from .blocks import (
    Block,
    Cell,
    Code,
    ErrorGroup,
    ErrorList,
    Figure,
    Paragraph,
    Report,
    Section,
    Table,
)
from .cells import (
    MOST_TYPES,
    first_of,
    percent,
    percent_interval,
    score_cell,
    score_name,
    score_table,
)
from .comparison_sections import comparison_facts, comparison_sections
from .confidence_sections import confidence_blocks
from .excerpts import group_errors
from .matching import ERROR_KINDS, Kind
from .plots import plot_scores
from .resampling import N_RESAMPLES
from .slices import NOVELTY, Interval
from .summary import summary_blocks
from .surface_forms import NONE, Confusion, SurfaceForm, inconsistent
from .system_comparison import SystemComparison

_FEW_DOCUMENTS = 30
_MOST_ROWS = 15  # of tables that could be very long
# The names of slices in a task where each text is one word.
_OF_WORDS = {
    NOVELTY[0]: "words seen with this tag",
    NOVELTY[1]: "words seen with other tags only",
    NOVELTY[4]: "words not seen",
}


def make_report(
    evaluation: Evaluation,
    analyses: Sequence[Analysis],
    about: Mapping[str, str],
    *,
    plots: bool,
    comparison: SystemComparison | None = None,
) -> Report:
    """Make the report of an evaluation.

    evaluation (Evaluation): the scores.
    analyses (Sequence[Analysis]): the analyses of all tasks that are scored.
    about (Mapping[str, str]): the result of `provenance.describe_evaluation`.
    plots (bool): whether to draw plots, which needs matplotlib.
    comparison (SystemComparison | None): the comparison with another system; `None` if there is
        none.
    RETURNS (Report): the report.
    """
    of_tasks = [_task_sections(analysis, len(analyses) > 1, plots) for analysis in analyses]
    sections = [
        *(summary for summary, *_ in of_tasks),
        *(section for _, *others in of_tasks for section in others),
    ]
    facts = _facts(evaluation, analyses)
    if comparison is not None:
        n_summaries = len(analyses)
        sections[n_summaries:n_summaries] = comparison_sections(comparison)
        facts += comparison_facts(comparison)
    source = f"{evaluation.data}, split {evaluation.split}" if evaluation.split else evaluation.data
    return Report(
        title=evaluation.model,
        subtitle=f"on {source}",
        facts=facts,
        sections=[*sections, _about(about)],
    )


def _facts(evaluation: Evaluation, analyses: Sequence[Analysis]) -> list[tuple[str, Cell]]:
    facts = []
    for analysis in analyses:
        score = analysis.default.micro
        name = score_name(analysis.task, only_task=len(analyses) == 1)
        facts.append((name, score_cell(score.f1, score.intervals[2])))
        if len(analyses) == 1 and not analysis.task.per_token:
            facts += [
                ("precision", score_cell(score.precision, score.intervals[0])),
                ("recall", score_cell(score.recall, score.intervals[1])),
            ]
        kinds = analysis.all_kinds
        errors = kinds.total() - kinds["correct"]
        note = f"of {score.gold:,} gold and {score.predicted:,} predicted {analysis.task.name}"
        facts.append(("errors", Cell(f"{errors:,}", note)))
    if evaluation.words_per_second is not None:
        facts.append(("words/s", Cell(f"{evaluation.words_per_second:,.0f}")))
    return facts


def _task_sections(analysis: Analysis, several: bool, plots: bool) -> list[Section]:
    left_out = ("kinds", "confidence") if analysis.task.per_token else ()
    groups = group_errors(analysis.docs, only_error=analysis.task.per_token)
    makers: list[tuple[str, str, list[Block]]] = [
        ("summary", "In short", summary_blocks(analysis, groups)),
        ("first", "Look at these first", _first(analysis)),
        ("scores", "Scores", _scores(analysis, plots)),
        ("types", "Confused types", _confusion(analysis)),
        ("seen", "Seen in training", _seen(analysis)),
        ("kinds", "Kinds of error", _kinds(analysis)),
        ("places", "Length and position", _places(analysis)),
        ("confidence", "Confidence", confidence_blocks(analysis.confidences, plots)),
        ("errors", "All errors", _errors(analysis, groups)),
    ]
    return [
        Section(
            f"{analysis.task.name}-{name}",
            f"{title}: {analysis.task.name}" if several else title,
            blocks,
        )
        for name, title, blocks in makers
        if name not in left_out
    ]


def _scores(analysis: Analysis, plots: bool) -> list[Block]:
    blocks: list[Block] = []
    if plots:
        types = analysis.default.by_support
        rows = [*types[:MOST_TYPES], analysis.default.micro]
        alt = "; ".join(
            f"{row.name} {percent(row.f1)}{_in_words(row.intervals[2])}" for row in rows
        )
        title = "F1 by type"
        if len(types) > MOST_TYPES:
            title += f", of the {MOST_TYPES} most frequent"
        blocks.append(Figure(title, plot_scores(rows), f"{title}: {alt}"))
    if analysis.task.per_token:
        text = (
            "A tag is correct if its token has the same tag in the gold data. The row “micro” is "
            "over all tokens. If gold data and predictions have the same tokens, its precision, "
            "recall and F1 all equal the tag accuracy."
        )
        blocks += [Paragraph(text), _mode_table("", analysis.default)]
    elif analysis.strict is None:
        text = (
            "seqeval's default mode (conlleval's rules) and its strict mode (IOB2) give the same "
            "scores here. They differ only if there are invalid tag sequences."
        )
        blocks += [Paragraph(text), _mode_table("", analysis.default)]
    else:
        blocks += [
            _mode_table("seqeval's default mode (conlleval's rules)", analysis.default),
            _mode_table("seqeval's strict mode (IOB2)", analysis.strict),
        ]
    accuracy = analysis.accuracy
    if not analysis.task.per_token:
        blocks.append(
            Paragraph(
                f"Token accuracy: {percent(accuracy.value)} %{_in_words(accuracy.interval)}, "
                f"{accuracy.correct:,} of {accuracy.tokens:,} tokens have the correct IOB2 tag."
            )
        )
    return [*blocks, Paragraph(_about_intervals(analysis), small=True)]


def _about_intervals(analysis: Analysis) -> str:
    n_documents, unit = analysis.documents, analysis.unit
    if n_documents < 2:
        return (
            f"There are no intervals, because they resample {unit}s and there is only one {unit}."
        )
    text = (
        f"In brackets: 95 % intervals from {N_RESAMPLES:,} bootstrap resamples of the "
        f"{n_documents:,} annotated {unit}s. "
    )
    if analysis.sentences == n_documents:
        text += (
            f"As far as the gold data show, each {unit} is one sentence. If the sentences come "
            "from longer documents, the true intervals are wider, because sentences of one "
            "document are alike. To get them, use gold data that mark documents. "
        )
    if n_documents < _FEW_DOCUMENTS:
        text += f"With fewer than {_FEW_DOCUMENTS} {unit}s, intervals are rough and too narrow. "
    return text + (
        "A score has no interval if nearly all resamples give the same value, such as 0 or 100. "
        "Intervals show how scores vary with the choice of documents. They do not cover the "
        "variation between training seeds."
    )


def _mode_table(title: str, scores: ModeScores) -> Table:
    return score_table(title, "", [*scores.by_support, scores.micro, scores.macro], n_totals=2)


def _first(analysis: Analysis) -> list[Block]:
    blocks: list[Block] = [
        Paragraph(
            "These tables list errors that occur several times and texts with several types. "
            "There the gold data may be wrong, or the annotation guidelines may be unclear. A text "
            "inside a longer entity does not count as an occurrence. “none” means that the "
            "text is not an entity there."
        )
    ]
    frequent = analysis.frequent
    if frequent:
        rows = [_confusion_row(confusion) for confusion in frequent[:_MOST_ROWS]]
        title = first_of("Errors that occur several times", frequent, _MOST_ROWS)
        header = ("text", "gold", "predicted", "error", "times")
        blocks.append(Table(title, header, rows, n_names=4))
    titles = {
        "gold": "Texts with several types in the gold data",
        "predicted": "Texts with one type in the gold data and several types in the predictions",
    }
    if analysis.task.per_token:
        del titles["gold"]  # most frequent words have several tags
    for side, title in titles.items():
        forms = inconsistent(analysis.forms, side)
        if forms:
            blocks.append(_forms_table(first_of(title, forms, _MOST_ROWS), forms, analysis))
    if len(blocks) == 1:
        return [Paragraph("No error occurs more than once, and no text has several types.")]
    return blocks


def _forms_table(title: str, forms: Sequence[SurfaceForm], analysis: Analysis) -> Table:
    header: tuple[str, ...] = ("text", "gold", "predicted")
    rows: list[tuple[Cell, ...]] = [
        (
            Cell(form.text, find=form.text),
            Cell(_by_count(form.gold)),
            Cell(_by_count(form.predicted)),
        )
        for form in forms[:_MOST_ROWS]
    ]
    if analysis.training is not None:
        labels = analysis.training.labels
        header = (*header, "in training")
        rows = [
            (*row, Cell(_by_count(labels.get(form.text, {})) or "never"))
            for row, form in zip(rows, forms, strict=False)
        ]
    return Table(title, header, rows, n_names=len(header))


def _confusion_row(confusion: Confusion) -> tuple[Cell, ...]:
    gold, predicted = confusion.gold, confusion.predicted
    sides = [side for side in (gold, predicted) if side is not None]
    text = sides[0][0]
    other = sides[-1][0]
    return (
        Cell(text, find=text),
        Cell(gold[1] if gold else NONE),
        Cell(predicted[1] if predicted else NONE, other if other != text else ""),
        Cell(confusion.kind),
        Cell(f"{confusion.count:,}"),
    )


def _by_count(counts: Mapping[str, int]) -> str:
    ordered = sorted(counts.items(), key=lambda item: (item[0] == NONE, -item[1]))
    return ", ".join(f"{label}\u00a0{n:,}" for label, n in ordered)


def _kinds(analysis: Analysis) -> list[Block]:
    columns: tuple[Kind, ...] = ("correct", *ERROR_KINDS)
    by_type = [(label, analysis.kinds[label]) for label in analysis.types]
    rows = [
        (Cell(label), *(Cell(f"{kinds[kind]:,}") for kind in columns))
        for label, kinds in [*by_type, ("all", analysis.all_kinds)]
    ]
    split, merged = analysis.remainders["spurious"], analysis.remainders["missing"]
    categories = ("correct", "incorrect", "partial", "missing", "spurious")
    muc = [
        (
            Cell(schema),
            *(Cell(f"{getattr(counts, category):,}") for category in categories),
            *(Cell(percent(value)) for value in (counts.precision, counts.recall, counts.f1)),
        )
        for schema, counts in analysis.muc.items()
    ]
    return [
        Paragraph(
            "Each gold entity is matched with at most one prediction that overlaps it. Each "
            "prediction is matched at most once. Rows are types of the gold entities, or of the "
            "predictions for spurious ones. If a gold entity is split into several predictions, "
            "one of them has wrong boundaries and the others are spurious. This is the case for "
            f"{split:,} of the spurious predictions. If several gold entities are merged into one "
            "prediction, one of them has wrong boundaries and the others are missing. This is the "
            f"case for {merged:,} of the missing entities."
        ),
        Table("", ("", *columns), rows, n_totals=1),
        Table(
            "Partial matches, in the categories of MUC-5 and the schemas of SemEval-2013",
            ("schema", *categories, "precision", "recall", "F1"),
            muc,
        ),
        Paragraph(
            "“strict” requires the same boundaries and type. “exact” requires the same boundaries. "
            "“partial” requires the same boundaries, and counts an overlap as one half. “type” "
            "requires an overlap and the same type."
        ),
    ]


def _confusion(analysis: Analysis) -> list[Block]:
    types = analysis.types
    if len(types) > MOST_TYPES:
        return [_confusion_list(analysis)]
    rows = []
    for gold in (*types, None):
        counts = [analysis.confusions[gold, predicted] for predicted in (*types, None)]
        total = sum(counts)
        cells = []
        for predicted, n in zip((*types, None), counts, strict=True):
            moved = analysis.moved[gold, predicted]
            note = f"{moved:,} moved" if moved else ""
            cells.append(Cell(f"{n:,}" if n else "", note, n / total if n else None))
        rows.append((Cell(gold or "spurious"), *cells))
    return [
        Paragraph(
            "Rows are gold types, and columns are predicted types of matched entities. “moved” "
            "counts the matches whose boundaries differ. Colours show the share in the row."
        ),
        Table("", ("gold \\ predicted", *types, "missing"), rows, heat=True),
    ]


def _confusion_list(analysis: Analysis) -> Table:
    n_gold = {score.name: score.gold for score in analysis.default.per_type}
    wrong = [(pair, n) for pair, n in analysis.confusions.most_common() if pair[0] != pair[1]]
    rows = [
        (
            Cell("spurious" if gold is None else gold),
            Cell("missing" if predicted is None else predicted),
            Cell(f"{n:,}"),
            Cell("" if gold is None else f"{percent(n / n_gold[gold])} %"),
        )
        for (gold, predicted), n in wrong[:MOST_TYPES]
    ]
    header = ("gold", "predicted", "times", "share of the gold type")
    return Table(first_of("Confused pairs of types", wrong, MOST_TYPES), header, rows, n_names=2)


def _seen(analysis: Analysis) -> list[Block]:
    if analysis.novelty is None:
        text = "To see recall for entities that are new, give the training data (--train DATA)."
        return [Paragraph(text)]
    total = analysis.default.micro.gold
    names = _OF_WORDS if analysis.task.per_token else {}
    rows = [
        (
            Cell(names.get(score.name, score.name)),
            score_cell(score.recall, score.intervals[1], bar=True),
            Cell(f"{score.gold:,}"),
            Cell(f"{score.correct:,}"),
            Cell(f"{percent(score.gold / total)} %"),
        )
        for score in analysis.novelty
    ]
    text = (
        "An entity is seen if its whole text is an entity in the training data, and new otherwise. "
        "A word is seen if it occurs anywhere in the training data. Texts are compared exactly, "
        "including upper and lower case."
    )
    if analysis.task.per_token:
        text = (
            "A word is seen if it occurs in the training data. Words are compared exactly, "
            "including upper and lower case."
        )
    header = (f"gold {analysis.task.name}", "recall", "gold", "found", "share of gold")
    return [Paragraph(text), Table("", header, rows)]


def _places(analysis: Analysis) -> list[Block]:
    blocks: list[Block] = []
    if not analysis.task.per_token:
        text = (
            "Precision groups predictions by their own length and position, and recall groups gold "
            "entities by theirs."
        )
        blocks = [
            Paragraph(text),
            score_table("By length of the entity", "tokens", analysis.lengths),
        ]
    blocks.append(score_table("By length of the sentence", "tokens", analysis.sentence_lengths))
    if analysis.positions is None:
        text = (
            f"As far as the gold data show, each {analysis.unit} is one sentence, so there are no "
            "positions in it."
        )
        return [*blocks, Paragraph(text)]
    title = f"By position in the {analysis.unit}"
    return [*blocks, score_table(title, "sentence number", analysis.positions)]


def _errors(analysis: Analysis, groups: list[ErrorGroup]) -> list[Block]:
    if not groups:
        return [Paragraph("There are no errors.")]
    return [ErrorList(groups, analysis.types)]


def _about(about: Mapping[str, str]) -> Section:
    rows = [(Cell(name), Cell(text)) for name, text in about.items() if name != "command"]
    code = [Code(about["command"])] if "command" in about else []
    return Section(
        "about",
        "About this evaluation",
        [Table("", ("", ""), rows, n_names=2), *code],
    )


def _in_words(interval: Interval) -> str:
    return f" {percent_interval(interval)}" if interval else ""
