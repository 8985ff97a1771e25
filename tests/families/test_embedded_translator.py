"""The translator that ships: real sentences, whole documents, what it does not know, and what adapts it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from nlptasks import Engine
from nlptasks.data.labelled_texts import DataOptions
from nlptasks.errors import InvalidInputError
from nlptasks.settings import Settings
from nlptasks.training.run import finetune
from nlptasks_plugins.translation.task import EMBEDDED, Translation, TranslationTask

pytestmark = pytest.mark.embedded

FOLDER = TranslationTask.bases[EMBEDDED]


@pytest.fixture(
    scope="module", params=[{"dtype": "auto"}, {"dtype": "float32", "backend": "torch"}], ids=["auto", "torch"]
)
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """CTranslate2 in 8 bits, where it is installed, and torch."""
    with Engine(settings=replace(Settings.from_env(), profile="embedded"), **request.param) as made:
        yield made


@pytest.mark.parametrize(
    ("target", "pairs"),
    [
        ("fr", {"He is my friend.": "C'est mon ami.", "My father is a doctor.": "Mon père est médecin."}),
        ("de", {"I am tired.": "Ich bin müde.", "He is my friend.": "Er ist mein Freund."}),
        ("es", {"I am tired.": "Estoy cansado.", "She is my sister.": "Ella es mi hermana."}),
    ],
)
def test_everyday_sentences_out_of_english(engine: Engine, target: str, pairs: dict[str, str]) -> None:
    results = engine.run("translation", list(pairs), source_language="en", target_language=target)
    assert [result.translation for result in results] == list(pairs.values())
    assert {(result.model, result.target_language, result.note) for result in results} == {(EMBEDDED, target, None)}


def test_everyday_sentences_into_english_from_a_language_that_is_detected(engine: Engine) -> None:
    text = "Elle est ma sœur.\n\n- Mon père est médecin.\n"
    result = engine.run("translation", text)
    assert result.translation == "She is my sister.\n\n- My father is a doctor.\n"
    assert (result.source_language, result.target_language) == ("fr", "en")
    assert all(part.doubt is None and part.score > 0.5 for part in result.segments)


@pytest.mark.parametrize(
    ("source", "text", "translation"),
    [
        ("de", "Guten Morgen.", "Good morning."),
        ("de", "Wie viel kostet das?", "How much does this cost?"),
        ("fr", "Je voudrais une table pour deux personnes.", "I would like a table for two people."),
    ],
)
def test_what_a_traveller_says(engine: Engine, source: str, text: str, translation: str) -> None:
    result = engine.run("translation", text, source_language=source, target_language="en")
    assert result.translation == translation


def test_a_sentence_beyond_it_is_flagged(engine: Engine) -> None:
    result = engine.run("translation", "Quetzalcoatl zyzzyva hors-d'oeuvre flummoxed Zbigniew.", source_language="en",
                        target_language="de")  # fmt: skip
    (segment,) = result.segments
    assert segment.doubt is not None
    assert segment.doubt.startswith("its tokens are unlikely (0.")


def between(text: str, places: list[tuple[int, int]]) -> list[str]:
    """What stands before, between and behind the places."""
    borders = [0, *(border for place in places for border in place), len(text)]
    return [text[start:end] for start, end in zip(borders[::2], borders[1::2], strict=True)]


SENTENCES = (
    "I am tired.", "Where is Mary?", "We have no time.", "Thank you!", "He is my friend.", "That is not true.",
    "The dog sleeps 😀.", "It has 12 rooms.", "It costs 3.50.", "Why?",
)  # fmt: skip
LINES = ("\n", "\r\n", "\n\n", "\n \n", "\n- ", "\n* ", "\n  1. ", "\n\t2) ", " ", "  ", "\n# ", "\n> ")


def documents(count: int) -> list[str]:
    chance = random.Random(4)
    made = []
    for _ in range(count):
        parts = [chance.choice(("", "\n", "- ", "  "))]
        for _ in range(chance.randint(1, 4)):
            parts += [chance.choice(SENTENCES), chance.choice(LINES)]
        made.append("".join(parts))
    return made


def test_of_200_documents_every_segment_is_there_and_all_that_stands_between(engine: Engine) -> None:
    texts = documents(200)
    results: list[Translation] = engine.run(
        "translation", texts, source_language="en", target_language="fr", num_beams=1, max_new_tokens=24
    )
    for text, result in zip(texts, results, strict=True):
        sources = [(part.start, part.end) for part in result.segments]
        targets = [(part.target_start, part.target_end) for part in result.segments]
        assert between(result.translation, targets) == between(text, sources)
        assert [text[start:end] for start, end in sources] == [part.source for part in result.segments]
        assert [result.translation[start:end] for start, end in targets] == [part.text for part in result.segments]
        assert all(part.text.strip() for part in result.segments)
        assert sum(text.count(sentence) for sentence in SENTENCES) <= len(result.segments)


def test_languages_it_does_not_know_are_refused_by_name(engine: Engine) -> None:
    message = r"translator knows de, en, es, fr, found target_language 'it' \(Italian\): name another as model"
    with pytest.raises(InvalidInputError, match=message):
        engine.run("translation", "Good day.", source_language="en", target_language="it")
    with pytest.raises(InvalidInputError, match=r"found source_language 'it' \(Italian\)"):
        engine.run("translation", "Ci vediamo domani alla stazione.", target_language="en")
    with pytest.raises(InvalidInputError, match="its language could not be told: give source_language"):
        engine.run("translation", "∂ ж", target_language="en")


def test_other_pairs_go_through_english_and_say_so(engine: Engine) -> None:
    result = engine.run("translation", "Je suis fatigué. Mon père est médecin.", target_language="de")
    assert result.translation == "Ich bin müde. Mein Vater ist Arzt."
    assert result.note == "translated through English"


def test_capitals_are_translated_and_stay(engine: Engine) -> None:
    result = engine.run("translation", "MY FATHER IS A DOCTOR.", source_language="en", target_language="fr")
    assert result.translation == "MON PÈRE EST MÉDECIN."


def test_a_short_text_that_is_already_in_the_language_is_kept(engine: Engine) -> None:
    result = engine.run("translation", "Hello.", target_language="en")
    assert (result.translation, result.source_language) == ("Hello.", "und")
    assert str(result.note).startswith(
        "the text was kept: its language is not certain, and its translation is nearly the "
    )
    note = engine.run("translation", "Guten Morgen.", target_language="de").note
    assert note == "the text is already in German: choose another target_language"


@pytest.mark.parametrize(
    "text", ["My name is Olivia Bennett.", "The bill is $1,249.50.", "Call me at +44 20 7946 0958.", "Hello!"]
)
def test_a_short_text_with_a_name_or_a_number_is_translated(engine: Engine, text: str) -> None:
    assert engine.run("translation", text, target_language="fr").translation != text


KEPT = (
    "https://shop.example.net/p/48213#reviews", "ana@example.org", "${firstName}", "%(count)d", "{{user.name}}",
    "DE89 3704 0044 0532 0130 00", "€9", "20°C", "/etc/app/app.conf", "my_file_v2.tar.gz", "x²", "→", "привет", "</s>",
)  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("target", ["fr", "de", "es"])
def test_what_must_not_change_stays(engine: Engine, target: str) -> None:
    texts = [f"Please open {span} first." for span in KEPT]
    results = engine.run("translation", texts, source_language="en", target_language=target)
    for span, result in zip(KEPT, results, strict=True):
        assert span in result.translation
        assert "\ufffd" not in result.translation
        assert not result.translation.endswith("first.")


@pytest.mark.long
def test_a_sentence_longer_than_it_reads_is_not_cut(engine: Engine) -> None:
    text = " ".join(["Bonjour à vous mes chers amis"] * 100)
    result = engine.run("translation", text, source_language="fr", target_language="en", num_beams=1, max_new_tokens=20)
    assert not result.truncated
    assert result.num_tokens > 512


@pytest.mark.long
def test_no_short_text_is_cut(engine: Engine) -> None:
    # Each of these letters is several tokens, and this ligature eighteen letters.
    for text in ("ß\u0301" * 200, "ﷺ" * 60, "ሀ" * 250, "a\u0301\u0302\u0303" * 90):
        assert not engine.run(
            "translation", text, source_language="en", target_language="fr", num_beams=1, max_new_tokens=4
        ).truncated


@pytest.mark.full
def test_an_adapter_of_it_is_trained_and_served(tmp_path: Path) -> None:
    rows = [(f"Item {n} is out of stock.", f"Artikel {n} ist ausverkauft.") for n in range(12)]
    data = tmp_path / "rows.tsv"
    data.write_text("en\tde\n" + "".join(f"{a}\t{b}\n" for a, b in rows), encoding="utf-8")
    settings = replace(Settings.from_env(), data=tmp_path / "data", profile="embedded")
    recipe = TranslationTask.recipe.replace(
        num_train_epochs=1, per_device_train_batch_size=8, dtype="float32", learning_rate=1e-3
    )
    report = finetune("translation", str(data), name="shop", recipe=recipe, settings=settings, options=DataOptions())
    with Engine(settings=settings, dtype="float32") as engine:
        result = engine.run(
            "translation", "Item 4 is out of stock.", source_language="en", target_language="de", adapter="shop"
        )
    assert (result.model, result.adapter) == (EMBEDDED, "shop")
    assert result.translation.strip()
    assert report.path.is_dir()


def test_its_files_can_be_kept_in_git() -> None:
    sizes = {path.name: path.stat().st_size for path in FOLDER.iterdir()}
    assert max(sizes.values()) < 16_000_000
    assert {"README.md", "config.json", "source.spm", "model.safetensors.index.json"} <= sizes.keys()
