"""Every architecture learns every verb: five steps of LoRA, and a fresh process serves the saved folder."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file

from nlptasks import Engine, Plugins, QuestionAnswering, Recipe, TokenClassification, hookimpl
from nlptasks.errors import UnsupportedModelError
from nlptasks.model import GENERATE
from nlptasks.results import Answer, Classification, Entities, Result
from nlptasks.settings import Settings
from nlptasks.store.adapters import PEFT_WEIGHTS, open_adapter
from nlptasks.testing import tiny_model
from nlptasks.training import finetune
from nlptasks.training.publishing import gate
from tests.examples import marked
from tests.runtime.matrix import Outcome, serve_all, train_noting
from tests.training_rows import Feeling, rows, serve_here, write_csv

STANDARD = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
BERT_LIKE = frozenset({"query", "key", "value", "dense"})
VERBS = ("classify", "tag", "extract")


@dataclass(frozen=True)
class Case:
    """A base, the kinds of layers that get LoRA, and for each verb the layers that are saved whole."""

    lora: frozenset[str]
    classify: str
    tag: str = "classifier"
    extract: str = "qa_outputs"
    kind: str = ""
    sizes: dict[str, Any] = field(default_factory=dict)
    segments: bool = False


# What microsoft/deberta-v3-* has; the version before it has projections of its own for positions, and a convolution.
DEBERTA_V3: dict[str, Any] = {
    **STANDARD,
    "max_position_embeddings": 128,
    "type_vocab_size": 0,
    "relative_attention": True,
    "pos_att_type": ["p2c", "c2p"],
    "position_buckets": 16,
    "share_att_key": True,
    "norm_rel_ebd": "layer_norm",
    "position_biased_input": False,
}
DEBERTA_V2 = {**DEBERTA_V3, "share_att_key": False, "conv_kernel_size": 3, "conv_act": "gelu"}
DEBERTA_LINEAR = frozenset({"query_proj", "key_proj", "value_proj", "dense"})
CASES = {
    "bert": Case(BERT_LIKE, "bert.pooler.dense classifier", segments=True),
    "roberta": Case(BERT_LIKE, "classifier.dense classifier.out_proj"),
    "deberta-v3": Case(DEBERTA_LINEAR, "classifier pooler.dense", kind="deberta-v2", sizes=DEBERTA_V3, segments=True),
    "deberta-v2": Case(
        DEBERTA_LINEAR | {"pos_key_proj", "pos_query_proj"},
        "classifier pooler.dense",
        kind="deberta-v2",
        sizes=DEBERTA_V2,
        segments=True,
    ),
    "distilbert": Case(frozenset({"q_lin", "k_lin", "v_lin", "out_lin", "lin1", "lin2"}), "classifier pre_classifier"),
    "modernbert": Case(frozenset({"Wqkv", "Wi", "Wo"}), *["classifier head.dense head.norm"] * 3),
    "electra": Case(
        BERT_LIKE | {"embeddings_project"},
        "classifier.dense classifier.out_proj",
        kind="electra",
        sizes={**STANDARD, "embedding_size": 16, "max_position_embeddings": 128},
        segments=True,
    ),
    "albert": Case(
        BERT_LIKE | {"ffn", "ffn_output", "embedding_hidden_mapping_in"},
        "albert.pooler classifier",
        kind="albert",
        sizes={**STANDARD, "embedding_size": 16, "max_position_embeddings": 128},
    ),
    "mpnet": Case(
        frozenset({"q", "k", "v", "o", "dense"}),
        "classifier.dense classifier.out_proj",
        kind="mpnet",
        sizes={**STANDARD, "max_position_embeddings": 130},
    ),
    "gpt2": Case(frozenset({"c_attn", "c_proj", "c_fc"}), "score"),
    "llama": Case(
        frozenset({"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}), "score", "score"
    ),
}
IN_SUITE = ("bert", "deberta-v3", "modernbert", "gpt2")
"""One of each kind; all others are in `make full`."""


class Names(TokenClassification):
    """People and places."""

    name = "names"
    labels = ("PER", "LOC")
    examples = ("Ada keeps bees in Oslo.",)


class Where(QuestionAnswering):
    """Where somebody keeps something."""

    name = "where"
    examples = ({"question": "Where does Ada keep bees?", "context": "Ada keeps bees in Oslo."},)


PEOPLE = ("Ada", "Bram", "Chloé", "Dina", "Emil")
THINGS = ("bees", "two boats", "a goat", "old maps")
PLACES = ("Oslo", "Porto", "Bergen", "New Delhi", "Łódź")
RECIPE = Recipe(num_train_epochs=1, learning_rate=1e-2, per_device_train_batch_size=4, max_length=96, dtype="float32")
RECIPES = {
    "classify": RECIPE,
    "tag": RECIPE.replace(metric_for_best_model="f1"),
    "extract": RECIPE.replace(metric_for_best_model="best_f1", extra={"unanswerable": 0.0}),
}
TASKS = {"classify": Feeling(), "tag": Names(), "extract": Where()}
ASKED: dict[str, Any] = {"classify": Feeling.examples[0], "tag": Names.examples[0], "extract": Where.examples[0]}
ANSWERS: dict[str, type[Result]] = {"classify": Classification, "tag": Entities, "extract": Answer}


def sentences(count: int, first: int = 0) -> Iterator[tuple[str, str, str]]:
    """(person, thing, place), a hundred different ones."""
    for i in range(first, first + count):
        yield PEOPLE[i % 5], THINGS[i % 4], PLACES[(i // 4 + i // 20) % 5]


def tokens_with_tags(person: str, thing: str, place: str) -> dict[str, Any]:
    words, named = thing.split(), place.split()
    tags = ["B-PER", "O", *["O"] * len(words), "O", "B-LOC", *["I-LOC"] * (len(named) - 1), "O"]
    return {"tokens": [person, "keeps", *words, "in", *named, "."], "tags": tags}


def text_with_spans(person: str, thing: str, place: str) -> dict[str, Any]:
    text = f"In {place}, {person} keeps {thing}."
    spans = [(place, "LOC"), (person, "PER")]
    found = [{"start": text.index(word), "end": text.index(word) + len(word), "label": label} for word, label in spans]
    return {"text": text, "spans": found}


def question(person: str, thing: str, place: str) -> dict[str, Any]:
    context = f"{person} keeps {thing} in {place}."
    answers = {"text": [place], "answer_start": [context.rindex(place)]}
    return {"question": f"Where does {person} keep {thing}?", "context": context, "answers": answers}


def write(path: Path, content: Sequence[dict[str, Any]]) -> str:
    path.write_text("\n".join(map(json.dumps, content)) + "\n", encoding="utf-8")
    return str(path)


def data_for(verb: str, folder: Path) -> tuple[str, str]:
    """Twenty rows to train on, which are five batches, and eight held out."""
    train, held = sentences(20), sentences(8, first=20)
    if verb == "classify":
        made = rows(28)
        return write_csv(folder / "train.csv", made[:20]), write_csv(folder / "held.csv", made[20:])
    if verb == "tag":
        return (
            write(folder / "tags.jsonl", [tokens_with_tags(*row) for row in train]),
            write(folder / "spans.jsonl", [text_with_spans(*row) for row in held]),
        )
    return (
        write(folder / "asked.jsonl", [question(*row) for row in train]),
        write(folder / "held.jsonl", [question(*row) for row in held]),
    )


def make_base(folder: Path, name: str) -> Path:
    """A random checkpoint like the published ones: a language model, whose body has no trained pooler."""
    case = CASES[name]
    tiny_model(folder, architecture=name if not case.kind else "bert")
    if name in ("gpt2", "llama"):
        return folder
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    if case.segments:
        tokenizer.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
        tokenizer.save_pretrained(folder)
    config = transformers.AutoConfig.from_pretrained(folder)
    if case.kind:
        ids = {"pad_token_id": tokenizer.pad_token_id, "vocab_size": len(tokenizer)}
        config = transformers.AutoConfig.for_model(case.kind, **ids, **case.sizes)
    # With the usual 0.02 a body this small says next to nothing, and a fault in its layers would not show.
    config.initializer_range = 0.2
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        transformers.AutoModelForMaskedLM.from_config(config).save_pretrained(folder)
    return folder


Combination = tuple[str, str]


def train(base: Path, verb: str, name: str, home: Settings, scratch: Path, patch: pytest.MonkeyPatch) -> Outcome:
    data, held = data_for(verb, scratch)
    recipe = RECIPES[verb].replace(base=str(base))
    return train_noting(TASKS[verb], recipe, data, held, name, home, patch)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    root = tmp_path_factory.mktemp("home")
    return Settings(cache=root / "cache", data=root / "data", offline=True)


@pytest.fixture(scope="module")
def outcomes(
    request: pytest.FixtureRequest,
    home: Settings,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[Combination, Outcome]:
    """All combinations that the selected tests ask for, trained here and served elsewhere."""
    scratch = tmp_path_factory.mktemp("matrix")
    items = [item for item in request.session.items if isinstance(item, pytest.Function)]
    asked = [item.callspec.params for item in items if item.path == Path(__file__) and hasattr(item, "callspec")]
    combinations = dict.fromkeys((p["architecture"], p["verb"]) for p in asked if {"architecture", "verb"} <= p.keys())
    bases = {name: make_base(scratch / name, name) for name, _ in combinations}
    with pytest.MonkeyPatch.context() as patch:
        found = {(name, verb): train(bases[name], verb, name, home, scratch, patch) for name, verb in combinations}
    serve_all([outcome for outcome in found.values() if not outcome.failure], scratch)
    return found


@pytest.fixture(scope="module")
def engine(home: Settings) -> Iterator[Engine]:
    class Plugin:
        @hookimpl
        def register_tasks(self, register):  # type: ignore[no-untyped-def]
            for task in TASKS.values():
                register(task)

    plugins = Plugins(home)
    plugins.register(Plugin(), "test")
    with Engine(settings=home, plugins=plugins, device="cpu", dtype="bfloat16") as made:
        yield made


@pytest.mark.long
@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("architecture", marked(CASES, IN_SUITE))
def test_what_is_trained_is_saved_and_served(
    outcomes: dict[Combination, Outcome], engine: Engine, architecture: str, verb: str
) -> None:
    outcome = outcomes[architecture, verb]
    report = outcome.trained
    assert report.steps == 5
    check_saved(report.path, CASES[architecture], verb)
    assert len(outcome.request["requests"]) >= 8
    assert not isinstance(outcome.served, str), outcome.served
    assert gate.compare(outcome.expected, outcome.served) < GENERATE.tolerance
    answer = engine.run(TASKS[verb].name, ASKED[verb], adapter=architecture)
    assert type(answer) is ANSWERS[verb]
    assert answer.adapter == architecture


def check_saved(folder: Path, case: Case, verb: str) -> None:
    """Exactly the new layers are saved whole, and every linear layer of the body has factors that learnt."""
    state = {
        name.removeprefix("base_model.model."): tensor for name, tensor in load_file(folder / PEFT_WEIGHTS).items()
    }
    whole = {name.rpartition(".")[0] for name in state if ".lora_" not in name}
    assert whole == set(getattr(case, verb).split())
    factors = {name: tensor for name, tensor in state.items() if ".lora_B." in name}
    assert {re.sub(r"\.lora_B\.weight$", "", name).rpartition(".")[2] for name in factors} == case.lora
    assert [name for name, tensor in factors.items() if not tensor.any()] == []
    saved = open_adapter(folder).peft["modules_to_save"]
    assert [name for name in whole if not f"{name}.".startswith(tuple(f"{module}." for module in saved))] == []


def test_a_decoder_trained_whole_keeps_the_body_of_its_base(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """transformers' question answering on Llama calls the body by another name, and would start from a random one."""
    serve_here(monkeypatch)
    base = make_base(tmp_path / "llama", "llama")
    data, held = data_for("extract", tmp_path)
    recipe = RECIPES["extract"].replace(base=str(base), method="full", learning_rate=1e-9)
    report = finetune(
        TASKS["extract"], data, name="w", recipe=recipe, validation=[held], settings=settings, device="cpu"
    )
    assert report.gate < GENERATE.tolerance
    model, info = transformers.AutoModelForQuestionAnswering.from_pretrained(report.path, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    body = transformers.AutoModel.from_pretrained(base).state_dict()
    torch.testing.assert_close(dict(model.base_model.state_dict()), body, atol=1e-6, rtol=0)
    data, held = data_for("classify", tmp_path)
    recipe = RECIPES["classify"].replace(base=str(report.path))
    with pytest.raises(
        UnsupportedModelError, match=r"expected the weights of a LlamaModel, found none for 20 of its 20"
    ):
        finetune(TASKS["classify"], data, name="c", recipe=recipe, validation=[held], settings=settings, device="cpu")


@pytest.mark.long
def test_an_architecture_without_the_head_is_refused(settings: Settings, tmp_path: Path) -> None:
    """A translation model: transformers has none of the three heads for it."""
    base = tiny_model(tmp_path / "marian", architecture="marian")
    for verb, task in TASKS.items():
        data, held = data_for(verb, tmp_path)
        recipe = RECIPES[verb].replace(base=str(base))
        with pytest.raises(UnsupportedModelError, match=f"marian: transformers has no {verb} head for this model"):
            finetune(task, data, name="mine", recipe=recipe, validation=[held], settings=settings, device="cpu")
