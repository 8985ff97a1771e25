"""What writes with a resident base: engines that are quicker than torch on a CPU, torch elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from nlptasks.model import CancelToken, Completion, Decoding, Prompt
from nlptasks.process import import_alone
from nlptasks.runtime.loading.base import LoadedBase
from nlptasks.runtime.reading import TorchModel
from nlptasks.runtime.verbs.batching import Batcher
from nlptasks.runtime.worker import BatchRequest

if TYPE_CHECKING:
    from nlptasks.runtime.fast.ctranslate import Translator
    from nlptasks.runtime.fast.genai import Pipelines
    from nlptasks.store.adapters import AdapterFolder

BUDGET = 16 * 1024
ROWS = 32
"""A writing batch holds its keys and values for every token, so it has fewer rows than a reading one."""


class Writers:
    """The writers of one resident base. Only the base's worker thread may use `begin` and `write`."""

    def __init__(self, model: TorchModel, graphs: Path | None) -> None:
        """`graphs` is the folder of compiled graphs; None leaves all to torch."""
        self.batcher = Batcher(BUDGET, ROWS)
        self._model = model
        self._graphs = graphs
        self._pipelines: Pipelines | None = None
        self._translator: Translator | None = None
        self._opened = False

    @property
    def idle(self) -> bool:
        return self._pipelines is None or self._pipelines.idle

    @property
    def last_used(self) -> float:
        """When a text began or ended, in seconds of `time.monotonic`."""
        return self._pipelines.last_used if self._pipelines else 0.0

    @property
    def num_bytes(self) -> int:
        """Memory of what the engines keep."""
        return sum(part.num_bytes for part in (self._pipelines, self._translator) if part)

    @property
    def placement(self) -> str:
        """How CTranslate2 computes the base; "" where it does not."""
        return f"{self._translator.numbers} on cpu, by CTranslate2" if self._translator else ""

    def close(self) -> None:
        """Cancel all texts and free the engines."""
        if self._pipelines:
            self._pipelines.close()
        self._pipelines = self._translator = None

    def shares_steps(self, decoding: Decoding) -> bool:
        """Whether `begin` may write with these settings, as far as that is known before the base is loaded."""
        base = self._model.loaded or self._model.readers.stored
        if self._graphs is None or self._model.dtype != "auto" or find_spec("openvino_genai") is None:
            return False
        # As transformers would; None leaves a setting to the checkpoint.
        plain = decoding.num_beams == 1 and decoding.num_return_sequences == 1 and decoding.no_repeat_ngram_size == 0
        known = decoding.repetition_penalty is not None and decoding.min_new_tokens is not None
        return plain and known and (base is None or _is_language_model(base))

    def begin(
        self,
        adapter: AdapterFolder | None,
        prompts: Sequence[Prompt],
        decoding: Decoding,
        cancel: CancelToken,
        *,
        bulk: bool,
        on_piece: Callable[[str], None] | None = None,
    ) -> list[Future[Completion]] | None:
        """Begin texts that share their steps with all others; None where torch must write.

        `bulk` lets others go first; `on_piece` gets the text of a single prompt as it is written.
        """
        base = self._model.readers.base()
        if not self._graphs or not _is_language_model(base):
            return None
        from nlptasks.runtime.fast import genai, texts
        from nlptasks.runtime.verbs.completions import end_tokens
        from nlptasks.runtime.verbs.prompts import encode_prompt

        if self._pipelines is None:
            self._pipelines = genai.Pipelines(self._model.folder, self._graphs, end_tokens(base))
        writer = self._pipelines.get(adapter)
        if writer is None:
            return None
        encoded = [encode_prompt(base, prompt, decoding) for prompt in prompts]
        return texts.begin(base, writer, encoded, decoding, cancel, bulk=bulk, on_piece=on_piece)

    def write(
        self,
        adapter: AdapterFolder | None,
        request: BatchRequest,
        decoding: Decoding,
        on_piece: Callable[[str], None] | None = None,
    ) -> None:
        """Answer prompts as `generation.generate` does."""
        import_alone("nlptasks.runtime.verbs.generation")
        from nlptasks.runtime.verbs import generation

        base, translator = self._model.base(), None if adapter else self.translator
        if translator and translator.serves(base, decoding):
            batches = translator.batches(base, decoding)
            generation.generate(base, batches, request, decoding, on_piece, translator.write)
        else:
            self._model.activate(adapter)
            generation.generate(base, self.batcher, request, decoding, on_piece)

    @property
    def translator(self) -> Translator | None:
        """The base as CTranslate2 writes with it, opened at the first use; None where torch has to write."""
        if self._opened:
            return self._translator
        self._opened = True
        base = self._model.base()
        writes = base.kind == "seq2seq" and not base.native_verb
        # Weights in 8 bits are for those who leave the choice to us.
        numbers = {"auto": "int8", "float32": "float32"}.get(self._model.dtype)
        if self._graphs and numbers and writes and base.placement.device == "cpu":
            import_alone("nlptasks.runtime.fast.ctranslate")
            from nlptasks.runtime.fast.ctranslate import open_translator

            self._translator = open_translator(base, self._model.folder, self._graphs, numbers)
        return self._translator


def _is_language_model(base: LoadedBase) -> bool:
    return base.kind == "causal" and not base.native_verb and base.placement.device == "cpu"
