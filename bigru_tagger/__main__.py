"""Run the command line by `python -m bigru_tagger`."""

from .cli import main

if __name__ == "__main__":
    main()
