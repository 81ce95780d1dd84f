"""`transformers.Trainer` for the network and the data of a spaCy config."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset  # type: ignore[import-untyped]
from seqeval.metrics import f1_score, precision_score, recall_score
from seqeval.scheme import IOB2
from spacy.training import Example
from spacy.util import load_model_from_config, registry
from thinc.api import Config
from transformers import (
    DataCollatorForTokenClassification,
    EvalPrediction,
    Trainer,
    TrainingArguments,
)

from ..errors import ConfigError
from ..extras import require
from ..pipeline.ner import certain_biluo
from ..schemes import biluo_to_iob2, iob2_tags
from .model_config import BiGRUConfig
from .token_classification import IGNORED, BiGRUForTokenClassification
from .word_tokenizer import SENTENCE_STARTS, WordTokenizer

SCORES = ("precision", "recall", "f1")


def training_arguments(config: Config, output: Path, **settings: Any) -> TrainingArguments:
    """Create the arguments of a `Trainer` that keeps the model with the best F1.

    config (Config): a spaCy config, not interpolated. Only its seed is used.
    output (Path): the output folder for checkpoints and the model.
    **settings (Any): further arguments of `TrainingArguments`.
    RETURNS (TrainingArguments): the arguments.
    RAISES (MissingExtraError): if `accelerate` is not installed.
    """
    require("accelerate", "transformers.Trainer")
    return TrainingArguments(
        str(output),
        warmup_steps=100,
        eval_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=1,
        load_best_model_at_end=True,
        metric_for_best_model="f1",
        logging_strategy="epoch",
        seed=int(config.interpolate()["training"]["seed"] or 0),
        dataloader_pin_memory=torch.cuda.is_available(),  # True warns if there is no GPU
        report_to="none",
        **settings,
    )


def train_and_save(trainer: Trainer) -> dict[str, float]:
    """Train, score the best model on the development data, and save it with a model card.

    trainer (Trainer): see `make_trainer`.
    RETURNS (dict[str, float]): the `SCORES`, each from 0 to 1.
    """
    trainer.train()
    evaluated = trainer.evaluate()
    scores = {name: float(evaluated[f"eval_{name}"]) for name in SCORES}
    trainer.model.config.meta["performance"] = {
        f"ents_{name[0]}": score for name, score in scores.items()
    }
    # save_model does not overwrite the card of an earlier run.
    (Path(trainer.args.output_dir) / "README.md").unlink(missing_ok=True)
    trainer.save_model()
    return scores


def make_trainer(
    config: Config, arguments: TrainingArguments, *, limit: int | None = None
) -> Trainer:
    """Build a model and its trainer.

    config (Config): a spaCy config with one `bigru_ner`, not interpolated.
    arguments (TrainingArguments): the arguments of `Trainer`.
    limit (int | None): the maximum number of Docs to train on; None for no limit.
    RETURNS (Trainer): the trainer, with the data of `[corpora]`.
    RAISES (ValueError): if the config has no such component, or the data cannot be read.
    """
    name = BiGRUConfig(config).component
    if config["components"][name].get("factory") != "bigru_ner":
        raise ConfigError(f"the component {name!r} must be a bigru_ner: choose another config")
    corpora = registry.resolve(config.interpolate()["corpora"])
    blank = load_model_from_config({"nlp": {"lang": config["nlp"]["lang"]}}, auto_fill=True)
    examples = {split: list(corpora[split](blank)) for split in ("train", "dev")}
    examples["train"] = examples["train"][:limit]
    labels = sorted({ent.label_ for eg in examples["train"] for ent in eg.reference.ents})
    tags = iob2_tags(labels)
    model = BiGRUForTokenClassification(BiGRUConfig(config, id2label=dict(enumerate(tags))))
    tokenizer = WordTokenizer.from_spacy(model.parts.nlp)
    data = {
        split: Dataset.from_list(list(encode(tokenizer, part, model.config.label2id)))
        for split, part in examples.items()
    }

    def compute_metrics(evaluated: EvalPrediction) -> dict[str, float]:
        """Score the labels with the highest logits with seqeval in strict mode."""
        predicted, gold = evaluated.predictions.argmax(2), evaluated.label_ids
        kept = gold != IGNORED
        sequences = [
            [[tags[number] for number in row[used]] for row, used in zip(rows, kept, strict=True)]
            for rows in (gold, predicted)
        ]
        options: dict[str, Any] = {"mode": "strict", "scheme": IOB2, "zero_division": 0}
        functions = zip(SCORES, (precision_score, recall_score, f1_score), strict=True)
        return {name: float(score(*sequences, **options)) for name, score in functions}

    return Trainer(
        model,
        arguments,
        data_collator=DataCollatorForTokenClassification(tokenizer),
        train_dataset=data["train"],
        eval_dataset=data["dev"],
        processing_class=tokenizer,
        compute_metrics=compute_metrics,
    )


def encode(
    tokenizer: WordTokenizer, examples: Iterable[Example], label2id: dict[str, int]
) -> Iterator[dict[str, list[int]]]:
    """Convert Examples to rows of a dataset.

    tokenizer (WordTokenizer): the tokenizer of the model.
    examples (Iterable[Example]): the Examples. Sentence starts are those of `predicted`, labels
        those of `reference`.
    label2id (dict[str, int]): the id of each tag. Other tags, and tokens whose tag is not certain,
        are ignored by the loss.
    YIELDS (dict[str, list[int]]): the arguments of the model's `forward`.
    """
    for eg in examples:
        row = dict(tokenizer([token.text for token in eg.predicted], is_split_into_words=True))
        row[SENTENCE_STARTS] = [int(token.is_sent_start or False) for token in eg.predicted]
        tags = ["" if tag is None else biluo_to_iob2(tag) for tag in certain_biluo(eg.reference)]
        row["labels"] = [label2id.get(tag, IGNORED) for tag in tags]
        yield row
