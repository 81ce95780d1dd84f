"""Score a spaCy pipeline on gold data: `python scripts/evaluate.py --help`."""

import typer

from bigru_tagger.cli.evaluate import evaluate_command

if __name__ == "__main__":
    typer.run(evaluate_command)
