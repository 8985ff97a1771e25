"""Prompts and targets of a language model's training: the serving prompt, the template's own end, what is cut."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from transformers import AutoModelForCausalLM, AutoTokenizer

from nlptasks.cli import cli
from nlptasks.data.labelled_texts import DataOptions
from nlptasks.errors import DataError
from nlptasks.runtime.verbs.prompts import prompt_ids
from nlptasks.training.families import writing
from nlptasks.training.families.base import family_trainer
from nlptasks.training.metrics import texts as text_metrics
from nlptasks_plugins.translation.task import Translation, TranslationTask
from tests.sample_tasks import Title

CHAT = [{"role": "user", "content": "Name a river."}]


def request(prompt: Any, target: str, max_length: int = 200) -> dict[str, Any]:
    return {"prompt": prompt, "target": target, "languages": [None, None], "max_length": max_length}


def test_the_prompt_is_the_one_that_serving_makes(tiny_causal: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_causal)
    for prompt in ("Once upon", CHAT):
        feature = writing.encode(request(prompt, "The Rhine."), tokenizer, 200, "causal")
        from nlptasks.results import Message

        served = prompt_ids(tokenizer, prompt if isinstance(prompt, str) else [Message(**turn) for turn in prompt])
        assert feature.inputs["input_ids"] == served + list(feature.target)
        assert tokenizer.decode(feature.target, skip_special_tokens=True) == "The Rhine."


def test_a_chat_s_answer_ends_as_the_template_ends_it(tiny_causal: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_causal)
    chat = writing.encode(request(CHAT, "The Rhine."), tokenizer, 200, "causal")
    assert tokenizer.decode(chat.target) == "The Rhine.<|im_end|>"
    plain = writing.encode(request("A river:", " the Rhine"), tokenizer, 200, "causal")
    assert tokenizer.decode(plain.target) == " the Rhine</s>"


@pytest.mark.parametrize("kind", ["causal", "seq2seq"])
def test_what_does_not_fit_is_cut_and_told(tiny_causal: Path, kind: Any) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_causal)
    fits = writing.encode(request("x" * 10, "y" * 10), tokenizer, 40, kind)
    assert not fits.source.cut
    for prompt, target in (("x" * 100, "y" * 10), ("x" * 10, "y" * 100), ("x" * 100, "y" * 100)):
        feature = writing.encode(request(prompt, target), tokenizer, 40, kind)
        assert feature.source.cut
        assert len(feature) <= 40
        assert len(feature.target) <= 40
        assert "y" in tokenizer.decode(feature.target)
    notes = family_trainer(Title()).encoding_notes([fits, feature])
    assert notes == ["1 text of 2 did not fit max_length and were cut"]


def test_only_the_target_is_learnt_and_padding_changes_nothing(tiny_causal: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_causal)
    model = AutoModelForCausalLM.from_pretrained(tiny_causal).eval()
    features = [
        writing.encode(request("Once upon a time", " there was"), tokenizer, 200, "causal"),
        writing.encode(request("A", " b, and much more behind it"), tokenizer, 200, "causal"),
    ]
    batch = writing.collate(features, tokenizer)
    assert (batch["labels"] != writing.IGNORED).sum(1).tolist() == [len(feature.target) for feature in features]
    with torch.inference_mode():
        together = writing.logprobs(writing.forward(model, batch), batch["labels"])
        for row, feature in zip(together, features, strict=True):
            ids = torch.tensor([feature.inputs["input_ids"]])
            size = len(feature.target)
            scores = model(ids).logits[0].log_softmax(-1)[-size - 1 : -1]
            expected = scores.gather(-1, torch.tensor(feature.target).unsqueeze(-1)).squeeze(-1)
            torch.testing.assert_close(row[:size], expected, atol=1e-4, rtol=1e-4)
            assert not row[size:].any()


def test_bad_rows_are_named_with_their_place(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    rows: list[dict[str, Any]] = [
        {"text": "A long text.", "title": "Long"},
        {"text": " ", "title": "Blank"},
        {"title": "No text"},
        {"text": "No title."},
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    with pytest.raises(DataError, match="3 bad rows; nothing was loaded") as caught:
        family_trainer(Title()).read([str(file)], DataOptions())
    assert "rows.jsonl:2: input 'text': expected a text with at least one visible character" in str(caught.value)
    assert "rows.jsonl:3: expected a column of the input (text), found title." in str(caught.value)
    assert "rows.jsonl:4: expected a column of the result (title), found text." in str(caught.value)
    named = DataOptions(text_column="article", label_column="head")
    file.write_text(json.dumps({"article": "A long text.", "head": "Long"}), encoding="utf-8")
    [row] = family_trainer(Title()).read([str(file)], named).rows
    assert (row.example.inputs.text, row.example.target) == ("A long text.", "TITLE: Long")


@pytest.mark.long
def test_text_metrics_are_those_of_their_packages() -> None:
    from rouge_score.rouge_scorer import RougeScorer
    from sacrebleu.metrics import BLEU, CHRF

    written = ["The cat sat on the mat. It slept.", "A dog barked loudly at night."]
    right = ["A cat sat on a mat. It was asleep.", "A dog barked at night."]
    measured = text_metrics.measure(("exact_match", "rouge", "bleu", "chrf"), written, right)
    actual = {name: counts.of() for name, counts in measured.items()}
    assert actual["exact_match"] == 0
    assert actual["bleu"] == pytest.approx(BLEU().corpus_score(written, [right]).score)
    assert actual["chrf"] == pytest.approx(CHRF().corpus_score(written, [right]).score)
    scorer = RougeScorer(["rouge1"], use_stemmer=True)
    one = [scorer.score(b, a)["rouge1"].fmeasure for a, b in zip(written, right, strict=True)]
    assert actual["rouge1"] == pytest.approx(50 * sum(one))


def test_bleu_of_short_texts_is_explained() -> None:
    short = text_metrics.measure(("bleu", "chrf"), ["Guten Tag"], ["Guten Tag"])
    assert [round(counts.of()) for counts in short.values()] == [0, 100]
    note = "BLEU is 0 because no answer has four words: it counts sequences of one to four"
    assert text_metrics.notes(short) == [note]
    family = family_trainer(TranslationTask())
    read: Any = SimpleNamespace(rows=[SimpleNamespace(example=SimpleNamespace(target="Guten Tag"))])
    result = Translation(translation="Guten Tag", source_language="en", target_language="de")
    assert family.assess(read, [result]).notes == [note]
    longer = text_metrics.measure(("bleu",), ["Guten Tag", "Es ist ein Tag"], ["Guten Tag", "Es war ein Tag"])
    assert text_metrics.notes(longer) == []
    assert text_metrics.notes(text_metrics.measure(("exact_match",), ["a"], ["a"])) == []


def test_eval_prints_what_texts_are_measured_by(tiny_causal: Path, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps({"prompt": "Once upon", "completion": " a time."}), encoding="utf-8")
    command = ["eval", "generation", str(file), "-m", str(tiny_causal), "-o", "max_new_tokens", "4"]
    result = CliRunner().invoke(cli, command)
    assert result.exit_code == 0, result.output
    for name in ("exact match", "ROUGE-1  ", "ROUGE-2  ", "ROUGE-Lsum  "):
        assert name in result.stdout
