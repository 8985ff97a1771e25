"""The public names; `__init__.py` imports each when it is first used."""

from nlptasks.backends import Backend as Backend, BackendOptions as BackendOptions, Resident as Resident
from nlptasks.batches.loop import BatchProgress as BatchProgress, BatchReport as BatchReport
from nlptasks.batches.run import batch as batch
from nlptasks.discovery import PluginFailure as PluginFailure, PluginRecord as PluginRecord
from nlptasks.engine import (
    Engine as Engine,
    arun as arun,
    astream as astream,
    default_engine as default_engine,
    run as run,
    stream as stream,
    tasks as tasks,
)
from nlptasks.errors import (
    AdapterError as AdapterError,
    AdapterMismatchError as AdapterMismatchError,
    CancelledError as CancelledError,
    DataError as DataError,
    DownloadError as DownloadError,
    GateError as GateError,
    IntegrityError as IntegrityError,
    InvalidInputError as InvalidInputError,
    MissingExtraError as MissingExtraError,
    NlptasksError as NlptasksError,
    OfflineError as OfflineError,
    OverflowRefusedError as OverflowRefusedError,
    PluginError as PluginError,
    RemoteAnswerError as RemoteAnswerError,
    RemoteServerError as RemoteServerError,
    TrainingError as TrainingError,
    UnknownNameError as UnknownNameError,
    UnparsableOutputError as UnparsableOutputError,
    UnsafeWeightsError as UnsafeWeightsError,
    UnsupportedModelError as UnsupportedModelError,
)
from nlptasks.families.question_answering import (
    AnswerOptions as AnswerOptions,
    QuestionAnswering as QuestionAnswering,
    QuestionInput as QuestionInput,
)
from nlptasks.families.sentences import sentences as sentences
from nlptasks.families.summarization import Summarization as Summarization, SummarizationOptions as SummarizationOptions
from nlptasks.families.text_classification import (
    ClassificationOptions as ClassificationOptions,
    TextClassification as TextClassification,
)
from nlptasks.families.text_to_text import (
    TrainingExample as TrainingExample,
    TextToText as TextToText,
    GenerationOptions as GenerationOptions,
    can_stream as can_stream,
)
from nlptasks.families.token_classification import (
    TaggingOptions as TaggingOptions,
    TokenClassification as TokenClassification,
)
from nlptasks.families.vectors import TextVectors as TextVectors, VectorOptions as VectorOptions
from nlptasks.families.zero_shot_classification import (
    ZeroShotClassification as ZeroShotClassification,
    ZeroShotOptions as ZeroShotOptions,
)
from nlptasks.families.zero_shot_entities import TypedOptions as TypedOptions, ZeroShotEntities as ZeroShotEntities
from nlptasks.hookspecs import API_VERSION as API_VERSION, hookimpl as hookimpl
from nlptasks.model import (
    CLASSIFY as CLASSIFY,
    CancelToken as CancelToken,
    Completion as Completion,
    Decoding as Decoding,
    EMBED as EMBED,
    EXTRACT as EXTRACT,
    Head as Head,
    Logits as Logits,
    Model as Model,
    ModelInfo as ModelInfo,
    Prompt as Prompt,
    SpanLogits as SpanLogits,
    Stream as Stream,
    TAG as TAG,
    Text as Text,
    TextStream as TextStream,
    TokenLogits as TokenLogits,
    TokenVectors as TokenVectors,
    Vector as Vector,
)
from nlptasks.plugins import (
    Plugins as Plugins,
    default_plugins as default_plugins,
    plugin_names as plugin_names,
    plugin_notice as plugin_notice,
)
from nlptasks.progress import AsyncStream as AsyncStream
from nlptasks.results import (
    Answer as Answer,
    AnswerSpan as AnswerSpan,
    Classification as Classification,
    Entities as Entities,
    Entity as Entity,
    Explanation as Explanation,
    GeneratedText as GeneratedText,
    LabelScore as LabelScore,
    Message as Message,
    Result as Result,
    Results as Results,
    Summary as Summary,
    SummaryChunk as SummaryChunk,
    TokenLogprob as TokenLogprob,
    WordWeight as WordWeight,
)
from nlptasks.settings import Settings as Settings
from nlptasks.task import (
    AnyTask as AnyTask,
    Recipe as Recipe,
    SequenceInput as SequenceInput,
    Task as Task,
    TaskInput as TaskInput,
    TaskOptions as TaskOptions,
    TextInput as TextInput,
)
from nlptasks.training.few_examples import few_shot as few_shot

__version__: str
