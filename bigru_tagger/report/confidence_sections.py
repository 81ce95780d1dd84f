"""The section of a report on the probabilities of predictions."""

from .blocks import Block, Cell, Figure, Paragraph, Table
from .calibration import Confidences
from .cells import percent
from .plots import plot_coverage, plot_reliability


def confidence_blocks(confidences: Confidences | None, plots: bool) -> list[Block]:
    """Show how well probabilities are calibrated.

    confidences (Confidences | None): the numbers; `None` where there are no probabilities.
    plots (bool): draw plots, which needs matplotlib.
    RETURNS (list[Block]): sentences, plots and tables.
    """
    if confidences is None:
        text = (
            "The predictions come without probabilities. Entities of bigru_ner have them unless "
            "its setting `confidence` is null, spans under a key where the component gives scores."
        )
        return [Paragraph(text)]
    rest = ""
    if confidences.unknown:
        rest = f" {confidences.unknown:,} others have none, and no part in this."
    blocks: list[Block] = [
        Paragraph(
            f"The probabilities of {len(confidences.outcomes.correct):,} predictions are off by "
            f"{percent(confidences.error)} points on average (expected calibration error, "
            f"{len(confidences.bins)} bins with predictions).{rest}"
        )
    ]
    if plots:
        blocks += _confidence_plots(confidences)
    return [*blocks, *_confidence_tables(confidences)]


def _confidence_plots(confidences: Confidences) -> list[Block]:
    best, all_kept = confidences.thresholds[-1], confidences.thresholds[0]
    return [
        Figure(
            "Are probabilities right?",
            plot_reliability(confidences),
            "Reliability: precision of predictions that are called equally probable, by that "
            "probability; on the dashed line, both are the same. The numbers are in a table below.",
        ),
        Figure(
            "Precision against coverage",
            plot_coverage(confidences),
            "Precision as less probable predictions are dropped: "
            f"{percent(all_kept.counts.precision)} % of all are right, and of the "
            f"{percent(best.coverage)} % that are called at least {best.threshold} probable, "
            f"{percent(best.counts.precision)} %. More numbers are in a table below.",
        ),
    ]


def _confidence_tables(confidences: Confidences) -> list[Block]:
    thresholds = [
        (
            Cell(f"{own.threshold}"),
            Cell(f"{own.counts.predicted:,}", f"{percent(own.coverage)} %"),
            *(
                Cell(percent(value))
                for value in (own.counts.precision, own.counts.recall, own.counts.f1)
            ),
        )
        for own in confidences.thresholds
    ]
    bins = [
        (Cell(percent(own.probability)), Cell(percent(own.precision)), Cell(f"{own.count:,}"))
        for own in confidences.bins
    ]
    return [
        Table(
            "Less probable predictions dropped",
            ("threshold", "kept", "precision", "recall", "F1"),
            thresholds,
            n_names=0,
        ),
        Table("Reliability", ("mean probability", "precision", "predictions"), bins, n_names=0),
    ]
