"""Remote models on the servers of others, with the embedded weights."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from nlptasks import BackendOptions, Engine, Settings
from nlptasks.errors import UnsupportedModelError
from nlptasks.remote.backend import RemoteBackend
from nlptasks.store.download import find_base

CHAT = {"messages": [{"role": "user", "content": "Name a colour."}]}


@contextmanager
def running(*command: str) -> Iterator[str]:
    """The address of a server that a command starts, once it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [*command, "--port", str(port)], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    url = f"http://127.0.0.1:{port}/v1"
    try:
        for _ in range(300):
            assert process.poll() is None
            try:
                httpx2.get(f"{url}/models")
                break
            except httpx2.TransportError:
                time.sleep(0.2)
        else:
            pytest.fail("the server did not answer within a minute")
        yield url
    finally:
        process.terminate()
        process.wait()


def remote() -> Engine:
    def find(_: str) -> Any:
        raise AssertionError("a remote model has no folder")

    return Engine(backend=RemoteBackend(BackendOptions(find=find)))


def check_writing(engine: Engine, base: str) -> None:
    for inputs in (CHAT, "The sky is"):
        whole = engine.run("generation", inputs, model=base, max_new_tokens=8)
        assert (len(whole.text.split()) > 3, whole.finish_reason, whole.num_generated_tokens) == (True, "length", 8)
        with engine.stream("generation", inputs, model=base, max_new_tokens=8) as pieces:
            assert "".join(pieces) == whole.text == pieces.result().text
    assert "user's message" not in str(whole.note), "it continues plain text"


@pytest.mark.full
@pytest.mark.embedded
def test_transformers_serve(embedded_settings: Settings) -> None:
    folder = str(find_base("smollm2", embedded_settings).path)
    program = str(Path(sys.executable).with_name("transformers"))
    with running(program, "serve", folder, "--device", "cpu", "--dtype", "float32") as url, remote() as engine:
        base = f"openai:{folder}@{url}"
        check_writing(engine, base)
        with Engine(settings=embedded_settings, backend="torch") as local:
            settings = {"max_new_tokens": 8, "repetition_penalty": 1.0}
            here, there = (
                local.run("generation", CHAT, **settings),
                engine.run("generation", CHAT, model=base, **settings),
            )
        assert (there.text, there.num_tokens, there.note) == (here.text, here.num_tokens, None)
        with pytest.raises(UnsupportedModelError, match="does not say how likely each token of a prompt is"):
            engine.run("sentiment", "It is good.", model=base)


@pytest.mark.full
@pytest.mark.embedded
@pytest.mark.skipif(not importlib.util.find_spec("starlette_context"), reason="llama-cpp-python[server]")
def test_llama_cpp(embedded_settings: Settings) -> None:
    pytest.importorskip("llama_cpp.server.app")
    [gguf] = find_base("smollm2", embedded_settings).path.glob("*.gguf")
    options = ("--n_ctx", "512", "--n_threads", "1", "--logits_all", "true")
    with running(sys.executable, "-m", "llama_cpp.server", "--model", str(gguf), *options) as url, remote() as engine:
        base = f"openai:smollm2@{url}"
        for inputs in (CHAT, "The sky is"):
            whole = engine.run("generation", inputs, model=base, max_new_tokens=8)
            with engine.stream("generation", inputs, model=base, max_new_tokens=8) as pieces:
                assert "".join(pieces) == whole.text
        assert len(engine.run("generation", "The sky is", model=base, max_new_tokens=4, logprobs=True).logprobs) == 4
        # smollm2 has no BOS: this server's values would belong to other tokens.
        with pytest.raises(UnsupportedModelError, match="does not say how likely each token of a prompt is"):
            engine.run("sentiment", "It is good.", model=base)
