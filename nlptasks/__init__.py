"""NLP tasks on one resident Transformer: typed results, LoRA adapters, plugins.

Public names are imported when they are first used; `import nlptasks` brings in no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nlptasks.backends import Backend as Backend
    from nlptasks.backends import BackendOptions as BackendOptions
    from nlptasks.backends import Resident as Resident
    from nlptasks.engine import (
        Engine as Engine,
    )
    from nlptasks.engine import (
        ResultStream as ResultStream,
    )
    from nlptasks.engine import (
        arun as arun,
    )
    from nlptasks.engine import (
        astream as astream,
    )
    from nlptasks.engine import (
        run as run,
    )
    from nlptasks.engine import (
        stream as stream,
    )
    from nlptasks.engine import (
        tasks as tasks,
    )
    from nlptasks.errors import (
        AdapterError as AdapterError,
    )
    from nlptasks.errors import (
        AdapterMismatchError as AdapterMismatchError,
    )
    from nlptasks.errors import (
        CancelledError as CancelledError,
    )
    from nlptasks.errors import (
        DataError as DataError,
    )
    from nlptasks.errors import (
        DownloadError as DownloadError,
    )
    from nlptasks.errors import (
        GateError as GateError,
    )
    from nlptasks.errors import (
        IntegrityError as IntegrityError,
    )
    from nlptasks.errors import (
        InvalidInputError as InvalidInputError,
    )
    from nlptasks.errors import (
        MissingExtraError as MissingExtraError,
    )
    from nlptasks.errors import (
        NlptasksError as NlptasksError,
    )
    from nlptasks.errors import (
        OfflineError as OfflineError,
    )
    from nlptasks.errors import (
        OverflowRefusedError as OverflowRefusedError,
    )
    from nlptasks.errors import (
        PluginError as PluginError,
    )
    from nlptasks.errors import (
        TrainingError as TrainingError,
    )
    from nlptasks.errors import (
        UnknownNameError as UnknownNameError,
    )
    from nlptasks.errors import (
        UnparsableOutputError as UnparsableOutputError,
    )
    from nlptasks.errors import (
        UnsafeWeightsError as UnsafeWeightsError,
    )
    from nlptasks.errors import (
        UnsupportedModelError as UnsupportedModelError,
    )
    from nlptasks.families.question_answering import (
        AnswerOptions as AnswerOptions,
    )
    from nlptasks.families.question_answering import (
        QuestionAnswering as QuestionAnswering,
    )
    from nlptasks.families.question_answering import (
        QuestionInput as QuestionInput,
    )
    from nlptasks.families.sentences import sentences as sentences
    from nlptasks.families.summarizing import Summarizing as Summarizing
    from nlptasks.families.summarizing import SummarizingOptions as SummarizingOptions
    from nlptasks.families.text_classification import (
        ClassificationOptions as ClassificationOptions,
    )
    from nlptasks.families.text_classification import (
        TextClassification as TextClassification,
    )
    from nlptasks.families.text_to_text import Lesson as Lesson
    from nlptasks.families.text_to_text import TextToText as TextToText
    from nlptasks.families.text_to_text import WritingOptions as WritingOptions
    from nlptasks.families.token_classification import TaggingOptions as TaggingOptions
    from nlptasks.families.token_classification import TokenClassification as TokenClassification
    from nlptasks.hookspecs import API_VERSION as API_VERSION
    from nlptasks.hookspecs import hookimpl as hookimpl
    from nlptasks.model import CLASSIFY as CLASSIFY
    from nlptasks.model import EXTRACT as EXTRACT
    from nlptasks.model import TAG as TAG
    from nlptasks.model import (
        CancelToken as CancelToken,
    )
    from nlptasks.model import (
        Completion as Completion,
    )
    from nlptasks.model import (
        Decoding as Decoding,
    )
    from nlptasks.model import (
        Head as Head,
    )
    from nlptasks.model import (
        Logits as Logits,
    )
    from nlptasks.model import (
        Model as Model,
    )
    from nlptasks.model import (
        ModelInfo as ModelInfo,
    )
    from nlptasks.model import (
        Prompt as Prompt,
    )
    from nlptasks.model import (
        SpanLogits as SpanLogits,
    )
    from nlptasks.model import Stream as Stream
    from nlptasks.model import (
        Text as Text,
    )
    from nlptasks.model import TextStream as TextStream
    from nlptasks.model import (
        TokenLogits as TokenLogits,
    )
    from nlptasks.plugins import PluginFailure as PluginFailure
    from nlptasks.plugins import PluginRecord as PluginRecord
    from nlptasks.plugins import Plugins as Plugins
    from nlptasks.results import (
        Answer as Answer,
    )
    from nlptasks.results import (
        AnswerSpan as AnswerSpan,
    )
    from nlptasks.results import (
        Classification as Classification,
    )
    from nlptasks.results import (
        Entities as Entities,
    )
    from nlptasks.results import (
        Entity as Entity,
    )
    from nlptasks.results import (
        GeneratedText as GeneratedText,
    )
    from nlptasks.results import (
        LabelScore as LabelScore,
    )
    from nlptasks.results import (
        Message as Message,
    )
    from nlptasks.results import (
        Result as Result,
    )
    from nlptasks.results import (
        Summary as Summary,
    )
    from nlptasks.results import (
        SummaryChunk as SummaryChunk,
    )
    from nlptasks.settings import Settings as Settings
    from nlptasks.task import (
        Recipe as Recipe,
    )
    from nlptasks.task import (
        Task as Task,
    )
    from nlptasks.task import (
        TaskInput as TaskInput,
    )
    from nlptasks.task import (
        TaskOptions as TaskOptions,
    )
    from nlptasks.task import (
        TextInput as TextInput,
    )

__version__ = "0.1.0"

_HOMES = {
    "nlptasks.backends": ("Backend", "BackendOptions", "Resident"),
    "nlptasks.engine": ("Engine", "ResultStream", "arun", "astream", "run", "stream", "tasks"),
    "nlptasks.errors": (
        "AdapterError",
        "AdapterMismatchError",
        "CancelledError",
        "DataError",
        "DownloadError",
        "GateError",
        "IntegrityError",
        "InvalidInputError",
        "MissingExtraError",
        "NlptasksError",
        "OfflineError",
        "OverflowRefusedError",
        "PluginError",
        "TrainingError",
        "UnknownNameError",
        "UnparsableOutputError",
        "UnsafeWeightsError",
        "UnsupportedModelError",
    ),
    "nlptasks.families.question_answering": ("AnswerOptions", "QuestionAnswering", "QuestionInput"),
    "nlptasks.families.summarizing": ("Summarizing", "SummarizingOptions"),
    "nlptasks.families.sentences": ("sentences",),
    "nlptasks.families.text_classification": ("ClassificationOptions", "TextClassification"),
    "nlptasks.families.text_to_text": ("Lesson", "TextToText", "WritingOptions"),
    "nlptasks.families.token_classification": ("TaggingOptions", "TokenClassification"),
    "nlptasks.hookspecs": ("API_VERSION", "hookimpl"),
    "nlptasks.plugins": ("PluginFailure", "PluginRecord", "Plugins"),
    "nlptasks.results": (
        "Answer",
        "AnswerSpan",
        "Classification",
        "Entities",
        "Entity",
        "GeneratedText",
        "LabelScore",
        "Message",
        "Result",
        "Summary",
        "SummaryChunk",
    ),
    "nlptasks.settings": ("Settings",),
    "nlptasks.task": ("Recipe", "Task", "TaskInput", "TaskOptions", "TextInput"),
    "nlptasks.model": (
        "CancelToken",
        "Completion",
        "CLASSIFY",
        "Decoding",
        "EXTRACT",
        "Head",
        "Logits",
        "Model",
        "ModelInfo",
        "Prompt",
        "SpanLogits",
        "Stream",
        "TAG",
        "Text",
        "TextStream",
        "TokenLogits",
    ),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [*sorted(_HOME_OF), "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'nlptasks' has no attribute {name!r}")
    value = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
