"""Bidirectional GRU taggers for spaCy: named entities, tags and chunks.

The names below are the public Python API. Each is imported when it is first used, so that
`import bigru_tagger` is fast. Everything else may change between minor versions.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .corpus.convert import convert
    from .corpus.corpus import AnyCorpus, open_corpus
    from .corpus.offsets import annotate
    from .corpus.readers import ConllCorpus, HFCorpus
    from .huggingface.exchange import load_transformers, save_transformers
    from .pipeline.chunker import BiGRUChunker
    from .pipeline.ner import BiGRUNer
    from .pipeline.tagger import BiGRUTokenTagger
    from .report.analysis import analyse_tasks
    from .report.gates import read_gates
    from .report.render import write_report
    from .report.system_comparison import compare_systems
    from .scoring.run import Evaluation, evaluate

__version__ = "0.2.0"
__all__ = [
    "AnyCorpus",
    "BiGRUChunker",
    "BiGRUNer",
    "BiGRUTokenTagger",
    "ConllCorpus",
    "Evaluation",
    "HFCorpus",
    "__version__",
    "analyse_tasks",
    "annotate",
    "compare_systems",
    "convert",
    "evaluate",
    "load_transformers",
    "open_corpus",
    "read_gates",
    "save_transformers",
    "write_report",
]

_MODULES = {
    "AnyCorpus": "corpus.corpus",
    "BiGRUChunker": "pipeline.chunker",
    "BiGRUNer": "pipeline.ner",
    "BiGRUTokenTagger": "pipeline.tagger",
    "ConllCorpus": "corpus.readers",
    "Evaluation": "scoring.run",
    "HFCorpus": "corpus.readers",
    "analyse_tasks": "report.analysis",
    "annotate": "corpus.offsets",
    "compare_systems": "report.system_comparison",
    "convert": "corpus.convert",
    "evaluate": "scoring.run",
    "load_transformers": "huggingface.exchange",
    "open_corpus": "corpus.corpus",
    "read_gates": "report.gates",
    "save_transformers": "huggingface.exchange",
    "write_report": "report.render",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
