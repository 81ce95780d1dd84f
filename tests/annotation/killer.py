"""A component that kills its process, or the parent, at a text; for `--code`."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path

from spacy.language import Language
from spacy.tokens import Doc


@Language.factory("killer")
def make_killer(nlp: Language, name: str, folder: str) -> Callable[[Doc], Doc]:
    def killer(doc: Doc) -> Doc:
        parent = multiprocessing.parent_process()
        target = parent.pid if parent and doc.text == "kill driver" else os.getpid()
        # The first process to get a text leaves a file, so that the next one survives.
        marker = Path(folder) / doc.text
        if doc.text.startswith("kill ") and not marker.exists():
            if doc.text != "kill always":
                marker.touch()
            os.kill(target, signal.SIGKILL)
        return doc

    return killer
