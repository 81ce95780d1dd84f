"""The model card (README.md) of a Hugging Face model."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from ..corpus.sources import SAMPLE
from ..markdown import code_span, escape_markdown, markdown_table
from ..tasks import TASKS

_USE = """\
With [transformers](https://github.com/huggingface/transformers), and `bigru-tagger` installed:

```python
import bigru_tagger.huggingface  # registers the model type with transformers
from transformers import pipeline

tag = pipeline("token-classification", model=MODEL, aggregation_strategy="simple")
print(tag("A text."))
```

`MODEL` is this folder, or the name of this repository. In spaCy, with the same results, after
`bigru-tagger from-transformers MODEL PIPELINE`:

```python
import spacy

nlp = spacy.load(PIPELINE)
doc = nlp("A text.")
```
"""


def model_card(config: Mapping[str, Any], meta: Mapping[str, Any], labels: Sequence[str]) -> str:
    """Render the card of a model. Names and texts of the pipeline have no effect as markup.

    config (Mapping[str, Any]): the interpolated spaCy config of its pipeline with one component.
    meta (Mapping[str, Any]): the pipeline's `meta.json`, with the scores that training stored.
    labels (Sequence[str]): the labels of its component.
    RETURNS (str): Markdown, with metadata for the hub as YAML front matter.
    """
    ((name, block),) = config["components"].items()
    factory = block["factory"]
    task = next(task for task in TASKS.values() if task.factory == factory)
    task = task.with_key(block.get("spans_key"))
    performance = meta.get("performance", {})
    scores = {
        metric: performance[attr]
        for attr, metric in task.scores.items()
        if performance.get(attr) is not None
    }
    data = _training_data(config)
    lang = meta.get("lang") or config["nlp"]["lang"]
    title = _one_line(f"{lang}_{meta.get('name') or 'pipeline'}")
    metadata = ModelCardData(
        language=None if lang == "xx" else _one_line(lang),
        license=_one_line(meta.get("license") or "") or None,
        library_name="transformers",
        pipeline_tag="token-classification",
        tags=["bigru-tagger", "spacy", "token-classification"],
        model_name=title if scores else None,
        eval_results=[
            EvalResult(
                task_type="token-classification",
                dataset_type=data or "unknown",
                dataset_name=f"{data or 'unknown'}, development data",
                metric_type=metric,
                metric_value=round(float(value), 4),
            )
            for metric, value in scores.items()
        ]
        or None,
    )
    per_type = performance.get(f"{task.score_prefix}_per_type")
    parts = [
        f"---\n{metadata.to_yaml()}\n---\n",
        f"# {escape_markdown(title)}\n",
        escape_markdown(meta.get("description") or ""),
        f"A bidirectional GRU that {task.purpose}: the component {code_span(name)} (`{factory}`) "
        "of a spaCy pipeline, in Hugging Face's format.\n",
        f"## Labels\n\n{', '.join(map(code_span, labels))}\n",
        f"## Data\n\nTrained on {code_span(data) if data else 'unknown data'}{_vectors(config)}.\n",
        "## Scores\n\n" + "\n".join(_score_lines(scores, per_type)) + "\n",
        f"## Use\n\n{_USE}",
    ]
    return "\n".join(part for part in parts if part)


def _training_data(config: Mapping[str, Any]) -> str | None:
    corpus = config.get("corpora", {}).get("train", {})
    readers = corpus.get("corpora", {"": corpus}).values()  # several in a JoinedCorpus
    return ", ".join(_data_name(reader["path"]) for reader in readers if reader.get("path")) or None


def _data_name(path: str) -> str:
    # Keep hub ids. Of a local path, only the last part is meaningful on other machines.
    is_path = PurePath(path).is_absolute() or str(path).startswith(".")
    return _one_line(PurePath(path).name if is_path and path != SAMPLE else str(path))


def _vectors(config: Mapping[str, Any]) -> str:
    vectors = config.get("initialize", {}).get("vectors")
    return f", with the word vectors of {code_span(PurePath(vectors).name)}" if vectors else ""


def _one_line(text: str) -> str:
    return " ".join(str(text).split())


def _score_lines(
    scores: Mapping[str, float], per_type: Mapping[str, Mapping[str, float]] | None
) -> Iterator[str]:
    if not scores:
        yield "No scores are stored in the pipeline."
        return
    names = ", ".join(f"{metric} {100 * value:.2f}" for metric, value in scores.items())
    yield f"On the development data: {names}."
    if per_type:
        rows = [
            (escape_markdown(label), *(f"{100 * numbers[key]:.2f}" for key in "prf"))
            for label, numbers in per_type.items()
        ]
        yield f"\n{markdown_table(('label', 'precision', 'recall', 'F1'), rows, 'lr')}"
