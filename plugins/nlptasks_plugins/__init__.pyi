"""The built-in tasks; `__init__.py` imports each when it is first used."""

from nlptasks_plugins.classify import Classify as Classify
from nlptasks_plugins.entities import AnyEntities as AnyEntities
from nlptasks_plugins.generation import (
    Generation as Generation,
    GenerationInput as GenerationInput,
    GenerationOptions as GenerationOptions,
)
from nlptasks_plugins.ner import NamedEntities as NamedEntities
from nlptasks_plugins.qa import Qa as Qa
from nlptasks_plugins.sentiment import Sentiment as Sentiment
from nlptasks_plugins.similarity import (
    Embedding as Embedding,
    Ranking as Ranking,
    Rerank as Rerank,
    ScoredText as ScoredText,
    Similarities as Similarities,
    Similarity as Similarity,
    TextEmbedding as TextEmbedding,
)
from nlptasks_plugins.summarization import Summarization as Summarization
from nlptasks_plugins.translation.inputs import (
    TranslationInput as TranslationInput,
    TranslationOptions as TranslationOptions,
)
from nlptasks_plugins.translation.results import TranslatedSegment as TranslatedSegment, Translation as Translation
from nlptasks_plugins.translation.task import TranslationTask as TranslationTask
