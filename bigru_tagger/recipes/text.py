"""Describe a training in words, for `bigru-tagger train`."""

from collections.abc import Mapping
from shlex import quote

from wasabi.tables import table

from ..report.analysis import Analysis, analyse_tasks
from ..report.excerpts import group_errors
from ..report.slices import Score
from ..scoring.loading import confidence_attributes
from .data import DEV, TrainingData
from .training import OLD, Plan, Training

N_ERRORS = 2
_N_LABELS = 6


def describe_plan(plan: Plan) -> str:
    """Describe what was found in the data, and what was chosen.

    plan (Plan): the plan.
    RETURNS (str): three lines, and one with the number of warnings if there are any.
    """
    lines = [f"Data    {_describe_data(plan.data)}", f"Recipe  {_describe_recipe(plan)}"]
    lines.append(f"Words   {_describe_vectors(plan)}")
    n = len(plan.data.check.level("warning"))
    if n:
        folder = plan.output / "corpus"
        lines.append(f"{n} warning{'s' * (n > 1)} about the data: bigru-tagger check {folder}")
    return "\n".join(lines)


def _describe_data(data: TrainingData) -> str:
    layer = data.counts.layers[data.task.name]
    labels = [f"{label} {n:,}" for label, n in layer.labels.most_common(_N_LABELS)]
    if len(layer.labels) > _N_LABELS:
        labels.append(f"and {len(layer.labels) - _N_LABELS} more labels")
    dev = data.check.splits[DEV].documents
    origin = "held out" if data.held_out else "given"
    return (
        f"{data.counts.documents:,} Docs with {data.counts.tokens:,} tokens for training, "
        f"{dev:,} ({origin}) for development; {data.task.name}: {', '.join(labels)}"
    )


def _describe_recipe(plan: Plan) -> str:
    recipe = plan.recipe
    if recipe is None:
        return f"as in your config; the complete one is {plan.config}"
    size = plan.data.sentences_per_doc
    doc = "sentence" if size == 1 else f"window of {size} sentences" if size else "document"
    return (
        f"{recipe.steps:,} steps of {recipe.docs_per_batch} Docs, which are {recipe.epochs:.1f} "
        f"passes over the data, by their size; a Doc is a {doc}"
        + (", so that all mentions of a word in it are seen together" if recipe.occurrences else "")
    )


def _describe_vectors(plan: Plan) -> str:
    if plan.continued is not None:
        return "vectors and vocabulary of the old pipeline"
    if plan.vectors is not None:
        return f"word vectors of {plan.vectors}"
    genre = "web" if plan.lang in ("en", "zh") else "news"
    return (
        "no word vectors; they raise F1 most where data are few: python -m spacy download "
        f"{plan.lang}_core_{genre}_md, if spaCy has that package, or --vectors"
    )


def describe_training(training: Training) -> str:
    """Describe the scores, the commonest errors, and what can be done next.

    training (Training): the result.
    RETURNS (str): the text.
    """
    attributes = confidence_attributes(training.nlp)
    analyses = {
        name: analysis
        for name, evaluation in training.evaluations.items()
        for analysis in analyse_tasks(evaluation, confidence=attributes)
        if analysis.task.factory == training.plan.data.task.factory
    }
    notes = []
    if OLD in analyses:
        notes.append(f"The scores of {OLD} are the agreement with the old pipeline.")
    if training.share < 1.0:
        notes.append(
            f"The weights are {training.share:.0%} of the way from the old to the new ones, which "
            "keeps more of what the old pipeline knows. Those of the last step are in model-last."
        )
    if training.bias is not None:
        notes.append(
            f"recall_bias was set to {training.bias:g}, which has the best F1 on the development "
            "data by more than chance."
        )
    blocks = [
        _scores_table(analyses),
        " ".join(notes),
        _errors(analyses[DEV]),
        _next_commands(training.plan),
    ]
    return "\n\n".join(filter(None, blocks))


def _scores_table(analyses: Mapping[str, Analysis]) -> str:
    rows = []
    for name, analysis in analyses.items():
        rows.append(_score_row(name, analysis.default.micro))
        rows += [_score_row(f"  {score.name}", score) for score in analysis.default.per_type]
    header = ("", "F1", "95 % interval", "precision", "recall", "gold")
    return table(rows, header=header, aligns=("l", "r", "r", "r", "r", "r")).strip("\n")


def _score_row(name: str, score: Score) -> tuple[str, ...]:
    interval = score.intervals[2]
    return (
        name,
        f"{score.f1:.1%}",
        "" if interval is None else f"{interval[0]:.1%} to {interval[1]:.1%}",
        f"{score.precision:.1%}",
        f"{score.recall:.1%}",
        f"{score.gold:,}",
    )


def _errors(analysis: Analysis) -> str:
    groups = group_errors(analysis.docs, only_error=True)[:N_ERRORS]
    lines = ["The most frequent errors on the development data:"] if groups else []
    for group in groups:
        excerpt = group.excerpts[0]
        pieces = excerpt.gold if group.gold is not None else excerpt.predicted
        text = "".join(
            f"[{piece.text}]{piece.label}" if piece.label else piece.text for piece in pieces
        )
        lines.append(f"  {len(group.excerpts)} of {group.title}, as in: {' '.join(text.split())}")
    return "\n".join(lines)


def _next_commands(plan: Plan) -> str:
    model = quote(str(plan.best))
    dev = quote(str(plan.data.files[DEV]))
    text = quote("Ada Lovelace lived in London.")
    commands = {
        f"bigru-tagger tag {model} {text}": "use it",
        f"bigru-tagger evaluate {model} {dev} --report report.html": "see all errors",
        f"python -m spacy train {quote(str(plan.config))} --output {quote(str(plan.output))}": (
            "train again, after changes of the config"
        ),
    }
    return "\n".join(["Next:", *(f"  {command}   # {why}" for command, why in commands.items())])
