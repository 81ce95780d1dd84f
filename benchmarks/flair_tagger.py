"""Train a Flair tagger, or tag for `scripts/benchmark --peer`: `scripts/flair_tagger --help`.

This module runs in a separate environment, because Flair requires an older transformers. So it
imports nothing of this package.
"""

import argparse
import gc
import json
import os
import sys
from pathlib import Path
from typing import Any

import flair
import torch
from flair.data import Corpus, Dictionary, Sentence
from flair.datasets import ColumnCorpus
from flair.embeddings import CharacterEmbeddings, StackedEmbeddings, WordEmbeddings
from flair.models import SequenceTagger
from flair.trainers import ModelTrainer

BATCH = 32  # sentences: the default of `SequenceTagger.predict`


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Train a Flair tagger, or tag with one.")
    commands = parser.add_subparsers(required=True)
    train = commands.add_parser(
        "train", help="Train a BiLSTM with 256 units and a CRF, with word vectors and characters."
    )
    train.add_argument("data", type=Path, help="A column file, with words first and entities last.")
    train.add_argument("output", help="The folder for final-model.pt.")
    train.add_argument(
        "--vectors", required=True, help="A text file of word vectors, such as GloVe."
    )
    train.add_argument(
        "--epochs", type=int, default=1, help="Number of epochs; 1 is enough to measure speed."
    )
    train.set_defaults(run=run_training)
    serve = commands.add_parser(
        "serve",
        help="Tag requests from standard input, as described in benchmarks/speed/external.py.",
    )
    serve.add_argument("model", help="The file of a model, or its name on the hub.")
    serve.set_defaults(run=run_server)
    arguments = vars(parser.parse_args())
    arguments.pop("run")(**arguments)


def run_training(data: Path, output: str, vectors: str, epochs: int) -> None:
    """Train without development data.

    data (Path): the column file.
    output (str): the folder for the model.
    vectors (str): the text file of word vectors.
    epochs (int): number of epochs.
    """
    flair.set_seed(0)
    with data.open(encoding="utf8") as lines:
        n_columns = next(len(line.split()) for line in lines if line.strip())
    corpus: Corpus[Sentence] = ColumnCorpus(
        data.parent,
        {0: "text", n_columns - 1: "ner"},
        train_file=data.name,
        document_separator_token="-DOCSTART-",
        sample_missing_splits=False,
    )
    characters = Dictionary()
    for sentence in corpus.train:
        for token in sentence:
            for character in token.text:
                characters.add_item(character)
    tagger = SequenceTagger(
        StackedEmbeddings(
            [WordEmbeddings(vectors, no_header=True), CharacterEmbeddings(characters)]
        ),
        corpus.make_label_dictionary("ner", add_unk=False),
        "ner",
        hidden_size=256,
        use_crf=True,
    )
    ModelTrainer(tagger, corpus).train(output, mini_batch_size=8, max_epochs=epochs)


def run_server(model: str) -> None:
    """Answer requests until standard input ends.

    model (str): the file of the model, or its name on the hub.
    """
    # Flair logs to standard output. Redirect the log to standard error.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    flair.device = torch.device("cpu")
    tagger = SequenceTagger.load(model)

    def answer(content: Any) -> None:
        print(json.dumps(content), file=answers, flush=True)

    answer({"about": f"flair {flair.__version__}, torch {torch.__version__}"})
    sentences: list[Sentence] = []
    for line in sys.stdin:
        request = json.loads(line)
        if "sentences" in request:
            # Flair does not tokenize a list of words again. Creating sentences is not timed.
            sentences = [Sentence(words) for words in request["sentences"]]
            gc.collect()
        else:
            if "text" in request:
                sentences = [Sentence(request["text"])]
            tagger.predict(sentences, mini_batch_size=BATCH)
        answer({"words": sum(map(len, sentences))})


if __name__ == "__main__":
    main()
