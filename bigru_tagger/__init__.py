"""Bidirectional GRU taggers for spaCy: named entities, tags and chunks.

The names below are the public Python API. Each is imported when it is first used, so that
`import bigru_tagger` is fast. Everything else may change between minor versions.
"""

import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .annotation.annotator import Annotator
    from .base_error import Error
    from .corpus.column_corpus import ConllCorpus
    from .corpus.convert import convert
    from .corpus.corpus import AnyCorpus, JoinedCorpus, open_corpus
    from .corpus.offsets import annotate
    from .corpus.readers import HFCorpus
    from .errors import ConfigError, DataError, DeviceError, ModelError
    from .huggingface.exchange import load_transformers, save_transformers
    from .pipeline.chunker import BiGRUChunker
    from .pipeline.ner import BiGRUNer
    from .pipeline.tagger import BiGRUTokenTagger
    from .recipes.combining import combine
    from .recipes.training import train
    from .report.analysis import analyse_tasks
    from .report.gates import read_gates
    from .report.render import write_report
    from .report.system_comparison import compare_systems
    from .scoring.run import Evaluation, evaluate

__version__ = "0.2.0"
__all__ = [
    "Annotator",
    "AnyCorpus",
    "BiGRUChunker",
    "BiGRUNer",
    "BiGRUTokenTagger",
    "ConfigError",
    "ConllCorpus",
    "DataError",
    "DeviceError",
    "Error",
    "Evaluation",
    "HFCorpus",
    "JoinedCorpus",
    "ModelError",
    "__version__",
    "analyse_tasks",
    "annotate",
    "combine",
    "compare_systems",
    "convert",
    "evaluate",
    "load_transformers",
    "open_corpus",
    "read_gates",
    "save_transformers",
    "train",
    "write_report",
]

_MODULES = {
    "Annotator": "annotation.annotator",
    "AnyCorpus": "corpus.corpus",
    "BiGRUChunker": "pipeline.chunker",
    "BiGRUNer": "pipeline.ner",
    "BiGRUTokenTagger": "pipeline.tagger",
    "ConfigError": "errors",
    "ConllCorpus": "corpus.column_corpus",
    "DataError": "errors",
    "DeviceError": "errors",
    "Error": "base_error",
    "Evaluation": "scoring.run",
    "HFCorpus": "corpus.readers",
    "JoinedCorpus": "corpus.corpus",
    "ModelError": "errors",
    "analyse_tasks": "report.analysis",
    "annotate": "corpus.offsets",
    "combine": "recipes.combining",
    "compare_systems": "report.system_comparison",
    "convert": "corpus.convert",
    "evaluate": "scoring.run",
    "load_transformers": "huggingface.exchange",
    "open_corpus": "corpus.corpus",
    "read_gates": "report.gates",
    "save_transformers": "huggingface.exchange",
    "train": "recipes.training",
    "write_report": "report.render",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .extras import explained  # noqa: PLC0415 - only imported where it is needed

    with explained(name):
        return getattr(import_module(f".{_MODULES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


_MOVED = {
    "bigru_tagger.adapter": "bigru_tagger.model",
    "bigru_tagger.analysis": "bigru_tagger.report",
    "bigru_tagger.components": "bigru_tagger.pipeline",
    "bigru_tagger.data": "bigru_tagger.corpus",
    "bigru_tagger.data.schemes": "bigru_tagger.schemes",
    "bigru_tagger.distillation": "bigru_tagger.distill",
    "bigru_tagger.evaluation": "bigru_tagger.scoring",
    "bigru_tagger.model.resources": "bigru_tagger.embeddings.resources",
    "bigru_tagger.model.tables": "bigru_tagger.embeddings.tables",
    "bigru_tagger.network.constrained_softmax": "bigru_tagger.decoding.constrained_softmax",
    "bigru_tagger.network.crf": "bigru_tagger.decoding.crf",
    "bigru_tagger.network.decoder": "bigru_tagger.decoding.decoder",
    "bigru_tagger.network.decoders": "bigru_tagger.decoding.decoders",
    "bigru_tagger.network.decoding": "bigru_tagger.decoding.viterbi",
    "bigru_tagger.network.marginals": "bigru_tagger.decoding.marginals",
    "bigru_tagger.network.storage": "bigru_tagger.runtime.storage",
    "bigru_tagger.network.time_steps": "bigru_tagger.time_steps",
    "bigru_tagger.network.transitions": "bigru_tagger.decoding.transitions",
    "bigru_tagger.reports": "bigru_tagger.report",
}


class _MovedModules(MetaPathFinder, Loader):
    """Finds modules by the names that they had before 0.2.0, with a DeprecationWarning."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        package, _, module = fullname.rpartition(".")
        if fullname in _MOVED:
            return ModuleSpec(fullname, self, origin=_MOVED[fullname])
        if package in _MOVED:
            return ModuleSpec(fullname, self, origin=f"{_MOVED[package]}.{module}")
        return None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        message = f"{spec.name} is now {spec.origin}; the old name will be removed in 0.4"
        warnings.warn(message, DeprecationWarning, stacklevel=2)
        module = import_module(str(spec.origin))
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        # The module keeps its own spec: Python has just replaced it by that of the old name.
        assert module.__spec__ is not None
        module.__spec__ = module.__spec__.loader_state


# First, since the folders of the packages would be searched for copies of the modules otherwise.
sys.meta_path.insert(0, _MovedModules())
