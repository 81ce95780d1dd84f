"""The section of a report on the probabilities of predictions."""

from .blocks import Block, Cell, Figure, Paragraph, Table
from .calibration import Confidences
from .cells import percent
from .plots import plot_coverage, plot_reliability


def confidence_blocks(confidences: Confidences | None, plots: bool) -> list[Block]:
    """Make the blocks on calibration.

    confidences (Confidences | None): the numbers; `None` where there are no probabilities.
    plots (bool): whether to draw plots, which needs matplotlib.
    RETURNS (list[Block]): sentences, plots and tables.
    """
    if confidences is None:
        text = (
            "There are no predictions with a probability. bigru_ner writes probabilities unless "
            "its setting `confidence` is null. For spans in doc.spans, a component can write them "
            "as scores."
        )
        return [Paragraph(text)]
    rest = ""
    if confidences.unknown:
        rest = f" {confidences.unknown:,} predictions without a probability are left out."
    blocks: list[Block] = [
        Paragraph(
            f"The probabilities of {len(confidences.outcomes.correct):,} predictions differ from "
            f"their precision by {percent(confidences.error)} percentage points on average "
            f"(expected calibration error, {len(confidences.bins)} bins with predictions).{rest}"
        )
    ]
    if plots:
        blocks += _confidence_plots(confidences)
    return [*blocks, *_confidence_tables(confidences)]


def _confidence_plots(confidences: Confidences) -> list[Block]:
    best, all_kept = confidences.thresholds[-1], confidences.thresholds[0]
    return [
        Figure(
            "Reliability of probabilities",
            plot_reliability(confidences),
            "Reliability: precision by probability. On the dashed line, precision equals "
            "probability. The numbers are in a table below.",
        ),
        Figure(
            "Precision against coverage",
            plot_coverage(confidences),
            "Precision if predictions below a threshold are dropped. Without a threshold, "
            f"precision is {percent(all_kept.counts.precision)} %. At a threshold of "
            f"{best.threshold}, {percent(best.coverage)} % of the predictions are kept, and their "
            f"precision is {percent(best.counts.precision)} %. More numbers are in a table below.",
        ),
    ]


def _confidence_tables(confidences: Confidences) -> list[Block]:
    thresholds = [
        (
            Cell(f"{row.threshold}"),
            Cell(f"{row.counts.predicted:,}", f"{percent(row.coverage)} %"),
            *(
                Cell(percent(value))
                for value in (row.counts.precision, row.counts.recall, row.counts.f1)
            ),
        )
        for row in confidences.thresholds
    ]
    bins = [
        (Cell(percent(part.probability)), Cell(percent(part.precision)), Cell(f"{part.count:,}"))
        for part in confidences.bins
    ]
    return [
        Table(
            "Scores if predictions below a threshold are dropped",
            ("threshold", "kept", "precision", "recall", "F1"),
            thresholds,
            n_names=0,
        ),
        Table(
            "Precision by probability",
            ("mean probability", "precision", "predictions"),
            bins,
            n_names=0,
        ),
    ]
