"""Perplexity: equal to a direct computation, every token once whatever the stride, and on the command line."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional
from transformers import AutoModelForCausalLM, AutoTokenizer

from nlptasks import Engine
from nlptasks.cli import cli
from nlptasks.errors import DataError, UnsupportedModelError
from nlptasks.training.text_evaluation import perplexity, windows

TEXT = "The harbour town voted on Tuesday\nto close its last pier. "


@pytest.fixture
def text(tmp_path: Path) -> str:
    path = tmp_path / "text.txt"
    path.write_text(TEXT, encoding="utf-8")
    return str(path)


def direct(folder: Path, text: str, context: int) -> tuple[float, int]:
    """The sum in nats when each token is predicted alone, from at most `context` tokens, and how many were."""
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    ids = tokenizer(text, return_tensors="pt")["input_ids"][0]
    total = 0.0
    for place in range(1, len(ids)):
        with torch.no_grad():
            logits = model(input_ids=ids[max(0, place - context) : place][None]).logits[0, -1]
        total += float(functional.cross_entropy(logits, ids[place]))
    return total, len(ids) - 1


@pytest.mark.long
@pytest.mark.parametrize("context", [16, 10_000])
def test_equals_a_direct_computation(tiny_causal: Path, text: str, context: int) -> None:
    total, tokens = direct(tiny_causal, TEXT, context)
    with Engine(device="cpu", dtype="float32") as engine:
        window = min(context, tokens)
        # With a stride of 1 every token has the longest context, as in the direct computation.
        report = perplexity("generation", text, engine=engine, model=str(tiny_causal), window=window, stride=1)
    assert report.tokens == tokens
    assert report.words == len(TEXT.split())
    assert report.loss == pytest.approx(total / tokens, rel=1e-4)
    assert report.token_perplexity == pytest.approx(math.exp(total / tokens), rel=1e-3)
    assert report.word_perplexity == pytest.approx(math.exp(total / len(TEXT.split())), rel=1e-2)


@given(st.integers(1, 400), st.integers(1, 50), st.integers(1, 50))
def test_every_token_is_predicted_once_from_enough_before_it(count: int, window: int, stride: int) -> None:
    stride = min(stride, window)
    actual = list(windows(count, window, stride))
    assert [place for _, counted, end in actual for place in range(counted, end)] == list(range(count))
    for start, counted, end in actual:
        assert end - start <= window
        assert counted - start >= min(window - stride, counted)


def test_command_line(tiny_causal: Path, text: str) -> None:
    command = ["eval", "generation", text, "-m", str(tiny_causal), "--device", "cpu", "--dtype", "float32"]
    actual = CliRunner().invoke(cli, [*command, "--perplexity", "--window", "32", "--stride", "8", "--json"])
    assert actual.exit_code == 0, actual.output
    report = json.loads(actual.stdout)
    assert (report["window"], report["stride"]) == (32, 8)
    printed = CliRunner().invoke(cli, [*command, "--perplexity", "--window", "32", "--stride", "8"])
    assert "windows of 32 tokens, stride 8" in printed.output
    assert f"{report['token_perplexity']:.2f}" in printed.output
    assert f"{report['words']} words" in printed.output
    alone = CliRunner().invoke(cli, [*command, "--stride", "8"])
    assert "--window, --stride: expected --perplexity beside them, found none." in alone.output


def test_what_cannot_be_measured(tiny_causal: Path, tiny_encoder: Path, text: str, tmp_path: Path) -> None:
    short = tmp_path / "short.txt"
    short.write_text("", encoding="utf-8")
    with Engine(device="cpu", dtype="float32") as engine:
        with pytest.raises(DataError, match=r"short\.txt: expected a text of at least two tokens, found \d\."):
            perplexity("generation", str(short), engine=engine, model=str(tiny_causal))
        with pytest.raises(DataError, match=r"none\.txt: expected a file, found none"):
            perplexity("generation", str(tmp_path / "none.txt"), engine=engine, model=str(tiny_causal))
        with pytest.raises(DataError, match="stride: expected at most the window of 8 tokens, found 9"):
            perplexity("generation", text, engine=engine, model=str(tiny_causal), window=8, stride=9)
        with pytest.raises(DataError, match=r"window: expected at most \d+ tokens, which the model reads at once"):
            perplexity("generation", text, engine=engine, model=str(tiny_causal), window=10**6)
        with pytest.raises(UnsupportedModelError, match="which is encoder: name a causal language model with -m"):
            perplexity("generation", text, engine=engine, model=str(tiny_encoder))
