"""What a base needs beside a compiled graph, kept beside the graphs: a tokenizer and some settings.

With it a process that reads or writes imports neither torch nor transformers, which take seconds.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from nlptasks.errors import UnsupportedModelError
from nlptasks.runtime.loading.base import LoadedBase, Weights, load_tokenizer
from nlptasks.runtime.loading.devices import Placement
from nlptasks.store.adapters import read_manifest

_TOKENIZER, _SETTINGS = "tokenizer.json", "settings.json"

_CONFIG = (
    *("model_type", "id2label", "problem_type", "task_specific_params", "pad_token_id"),
    *("max_position_embeddings", "n_positions"),
)
_IDS = ("bos_token_id", "eos_token_id", "pad_token_id", "cls_token_id", "unk_token_id")


class KeptTokenizer:
    """A fast tokenizer of transformers as it was loaded, computed by the library beneath it alone.

    It is called with the arguments that reading and writing need, and answers equally.
    """

    is_fast = True

    def __init__(self, file: Path, settings: dict[str, Any], base: Path) -> None:
        """`base` is the folder that it was loaded from."""
        from tokenizers import Tokenizer

        self._base = base

        self._tokenizer = Tokenizer.from_file(str(file))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        # A text that spells out a control token is text.
        self._tokenizer.encode_special_tokens = True
        self._names: list[str] = settings["names"]
        self.chat_template: Any = settings["chat_template"]
        self.model_max_length: int = settings["model_max_length"]
        ids: dict[str, int | None] = settings["ids"]
        self.bos_token_id, self.eos_token_id, self.pad_token_id, self.cls_token_id, self.unk_token_id = (
            ids[name] for name in _IDS
        )

    @functools.cached_property
    def whole(self) -> Any:
        """The tokenizer of transformers, for chats: their templates are more than this library has."""
        return load_tokenizer(self._base)

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool = False) -> str:
        """The text of tokens."""
        text: str = self._tokenizer.decode(list(ids), skip_special_tokens=skip_special_tokens)
        return text

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        """Special tokens that are added to a text, or to a pair."""
        return int(self._tokenizer.num_special_tokens_to_add(pair))

    def __call__(
        self,
        text: str | list[Any],
        *,
        add_special_tokens: bool = True,
        truncation: str | bool = False,
        max_length: int | None = None,
        return_offsets_mapping: bool = False,
        return_attention_mask: bool = True,
        return_token_type_ids: bool = True,
        verbose: bool = True,
    ) -> Any:
        """Token ids and so on by name: lists for a text, lists of lists for a list of texts or pairs."""
        if truncation:
            assert max_length is not None
            self._tokenizer.enable_truncation(max_length, strategy=truncation)
        else:
            self._tokenizer.no_truncation()
        single = isinstance(text, str)
        rows = self._tokenizer.encode_batch([text] if single else text, add_special_tokens=add_special_tokens)
        encoded = Encoding({"input_ids": [row.ids for row in rows]}, rows)
        if return_token_type_ids and "token_type_ids" in self._names:
            encoded["token_type_ids"] = [row.type_ids for row in rows]
        if return_attention_mask and "attention_mask" in self._names:
            encoded["attention_mask"] = [row.attention_mask for row in rows]
        if return_offsets_mapping:
            encoded["offset_mapping"] = [row.offsets for row in rows]
        return {name: values[0] for name, values in encoded.items()} if single else encoded


class Encoding(dict[str, Any]):
    """The token ids and so on of texts, by name."""

    def __init__(self, values: dict[str, Any], rows: list[Any]) -> None:
        super().__init__(values)
        self._rows = rows

    def sequence_ids(self, row: int) -> list[int | None]:
        """Which text of a pair each token of a row is of; None for special tokens."""
        ids: list[int | None] = self._rows[row].sequence_ids
        return ids


def keep(base: LoadedBase, folder: Path) -> None:
    """Write what reading or writing needs of a base into a folder.

    Raises:
        UnsupportedModelError: it has an encoder and a decoder, or its tokenizer does more than the library beneath it.
    """
    tokenizer = base.tokenizer
    tidies = base.kind == "causal" and tokenizer.clean_up_tokenization_spaces
    if base.kind == "seq2seq" or tidies or not _is_plain(tokenizer):
        raise UnsupportedModelError(f"{base.config.model_type} is read with transformers' tokenizer.")
    settings = {
        "kind": base.kind,
        "native_verb": base.native_verb,
        "eos_token_id": getattr(base.generation_config, "eos_token_id", None),
        "config": {name: getattr(base.config, name, None) for name in _CONFIG},
        "tokenizer": {
            "names": tokenizer.model_input_names,
            "chat_template": tokenizer.chat_template,
            "model_max_length": tokenizer.model_max_length,
            "ids": {name: getattr(tokenizer, name) for name in _IDS},
        },
    }
    (folder / _SETTINGS).write_text(json.dumps(settings), encoding="utf-8")
    (folder / _TOKENIZER).write_text(tokenizer.backend_tokenizer.to_str(), encoding="utf-8")


def _is_plain(tokenizer: Any) -> bool:
    from transformers import PreTrainedTokenizerBase, TokenizersBackend

    kind = type(tokenizer)
    return bool(
        tokenizer.is_fast
        and tokenizer.truncation_side == "right"
        and kind.__call__ is PreTrainedTokenizerBase.__call__
        and kind._encode_plus is TokenizersBackend._encode_plus
        and kind.num_special_tokens_to_add is TokenizersBackend.num_special_tokens_to_add
        # Translators' know languages.
        and not any(hasattr(tokenizer, name) for name in ("_switch_to_input_mode", "src_lang", "source_lang"))
    )


def read_kept(folder: Path, base: Path, placement: Placement) -> LoadedBase:
    """A base as it was kept in a folder; `base` is its folder. It has no weights.

    Raises:
        ValueError, KeyError: the files are damaged.
    """
    settings = json.loads((folder / _SETTINGS).read_text(encoding="utf-8"))

    def load() -> Weights:
        raise AssertionError("A kept base has no weights.")

    return LoadedBase(
        tokenizer=KeptTokenizer(folder / _TOKENIZER, settings["tokenizer"], base),
        config=SimpleNamespace(**settings["config"]),
        generation_config=SimpleNamespace(eos_token_id=settings["eos_token_id"]),
        kind=settings["kind"],
        placement=placement,
        load=load,
        native_verb=settings["native_verb"],
        manifest=read_manifest(base),
    )
