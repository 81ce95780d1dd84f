"""A custom task: morphological features, one value per token, in `token.morph`.

It needs a component, and an entry in `TASKS`, which defines how features are read, scored and
reported.
"""

from spacy.language import Language
from spacy.tokens import Doc
from thinc.api import Model
from thinc.types import Floats2d

from bigru_tagger.pipeline.factories import DEFAULT_MODEL, Scorer
from bigru_tagger.pipeline.tagger import BiGRUTokenTagger
from bigru_tagger.tasks import TASKS, TokenTask

FEATURES = TokenTask(
    name="features",
    singular="feature",
    factory="bigru_morphologizer",
    purpose="predicts morphological features",
    attribute="MORPH",
)
TASKS[FEATURES.name] = FEATURES


class BiGRUMorphologizer(BiGRUTokenTagger):
    """Predicts the features of each token, such as "Number=Sing|Person=3"."""

    task = FEATURES


@Language.factory(
    FEATURES.factory,
    assigns=[FEATURES.place],
    default_config={
        "model": DEFAULT_MODEL,
        "overwrite": True,
        "scorer": {"@scorers": "spacy.morphologizer_scorer.v1"},
    },
    default_score_weights={"morph_acc": 1.0},
)
def make_bigru_morphologizer(
    nlp: Language,
    name: str,
    model: Model[list[Doc], list[Floats2d]],
    overwrite: bool,
    scorer: Scorer,
) -> BiGRUMorphologizer:
    """Create the component."""
    return BiGRUMorphologizer(nlp.vocab, model, name, overwrite=overwrite, scorer=scorer)
