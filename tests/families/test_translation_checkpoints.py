"""Translation checkpoints with the tokenizers of Marian, M2M100, NLLB and mBART-50: each in its own language codes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from nlptasks import Engine
from nlptasks.errors import InvalidInputError
from nlptasks.runtime.verbs import languages
from nlptasks.settings import Settings
from nlptasks_plugins.translation.task import TranslationInput, TranslationTask
from tests.tiny_translators import KINDS, SENTENCES, tiny_translator

TASK = TranslationTask()
TEXT = SENTENCES[0]
CODES = {
    "marian-multi": (None, {"fr": ">>fra<<", "de": ">>deu<<"}),
    "m2m100": ("__en__", {"fr": "__fr__", "de": "__de__"}),
    "nllb": ("eng_Latn", {"fr": "fra_Latn", "de": "deu_Latn"}),
    "mbart50": ("en_XX", {"fr": "fr_XX", "de": "de_DE"}),
}
"""What marks the source, and each target, in a checkpoint's own words."""


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("translators")
    return {kind: tiny_translator(kind, root / kind) for kind in KINDS}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    root = tmp_path_factory.mktemp("home")
    with Engine(device="cpu", dtype="float32", settings=Settings(root, root, offline=True)) as hub_engine:
        yield hub_engine


def by_transformers(folder: Path, kind: str, target: str) -> str:
    """The translation as the checkpoint's own documentation asks for it, in plain transformers."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSeq2SeqLM.from_pretrained(folder)
    text, forced = TEXT, {}
    if kind in CODES:
        source, targets = CODES[kind]
        if source is None:
            text = f"{targets[target]} {text}"
        else:
            tokenizer.src_lang = source.strip("_") if kind == "m2m100" else source
            forced = {"forced_bos_token_id": tokenizer.convert_tokens_to_ids(targets[target])}
    batch = tokenizer(text, return_tensors="pt")
    with torch.inference_mode():
        written = model.generate(**batch, **forced, max_new_tokens=24, do_sample=False)[0]
    # The first token starts the decoder, and a language's token follows it.
    return str(tokenizer.decode(written[2 if forced else 1 :], skip_special_tokens=True))


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_is_asked_in_its_own_codes(kind: str, checkpoints: dict[str, Path], engine: Engine) -> None:
    folder = checkpoints[kind]
    options = TASK.options_type(max_new_tokens=24)
    written = {}
    for target in ("fr", "de") if kind in CODES else ("fr",):
        item = TranslationInput(text=TEXT, source_language="en", target_language=target)
        with engine.bind(TASK, model=str(folder)) as model:
            [completion] = TASK.write([item], options, model)
        assert completion.text == by_transformers(folder, kind, target)
        written[target] = (completion.text, completion.logprobs)
    assert len(set(written.values())) == len(written), "the target's code makes a difference"


@pytest.mark.parametrize("kind", CODES)
def test_source_and_target_are_marked(kind: str, checkpoints: dict[str, Path], tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(checkpoints[kind])
    tokenizer.save_pretrained(tmp_path)
    # What a training or a merge writes must know the same languages.
    for reader in (tokenizer, AutoTokenizer.from_pretrained(tmp_path)):
        source, targets = CODES[kind]
        for tag, code in targets.items():
            ids = languages.source_ids(reader, TEXT, None if source is None else "en", tag)
            assert reader.convert_ids_to_tokens(ids)[0] == (source or code)
            first = languages.first_id(reader, tag)
            assert (first is None) == (source is None)
            assert first is None or reader.convert_ids_to_tokens(first) == code
        assert {"fr", "de"} <= {tag.partition("-")[0] for tag in languages.languages(reader)}


@pytest.mark.parametrize("kind", KINDS)
def test_the_task_serves_them(kind: str, checkpoints: dict[str, Path], engine: Engine) -> None:
    text = f"{SENTENCES[0]}\n\n- {SENTENCES[3]}\n"
    inputs: dict[str, Any] = {"source_language": "en", "target_language": "fr", "model": str(checkpoints[kind])}
    result = engine.run("translation", text, max_new_tokens=16, **inputs)
    assert [segment.source for segment in result.segments] == [SENTENCES[0], SENTENCES[3]]
    assert result.translation.startswith(result.segments[0].text + "\n\n- ")
    assert result.translation.endswith("\n")
    assert not any(code in result.translation for _, codes in CODES.values() for code in codes.values())
    assert (result.source_language, result.target_language) == ("en", "fr")
    with pytest.raises(InvalidInputError, match=r"Klingon|tlh"):
        engine.run("translation", text, **{**inputs, "target_language": "tlh"})
