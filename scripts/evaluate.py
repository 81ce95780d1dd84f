"""Score a spaCy pipeline on gold data: `python scripts/evaluate.py --help`."""

from bigru_tagger.evaluation import main

if __name__ == "__main__":
    main()
