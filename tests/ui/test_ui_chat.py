"""The chat without a browser: commands, routing, attachments, conversations, and what comes of a turn."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from nlptasks import CancelToken, InvalidInputError, Message, UnknownNameError
from nlptasks.families.label_names import LabelNames
from nlptasks.model import Vector
from nlptasks.task import TaskOptions
from nlptasks.testing import FakeModel
from nlptasks_plugins import Similarity
from tests.ui_browser import STORY, FakeEngine, SlowModel, built_in_makers, installed_plugins, own_settings, until

from nlptasks_ui.chat import attachments, commands, conversation, routing  # isort: skip - ui_browser skips without gradio
from nlptasks_ui.chat.answers import Answers, Step  # isort: skip
from nlptasks_ui.chat.attachments import AttachmentError  # isort: skip
from nlptasks_ui.chat.conversation import ChatTurn, Conversation, Document  # isort: skip
from nlptasks_ui.context import Context  # isort: skip

PHONE = Document(
    name="phone.txt", text="The phone weighs 180 grams. Its battery lasts two days and charges in an hour."
)
TOPICS = ("mood", "name", "summar", "translat", "poem")


class Embedder(FakeModel):
    """Texts with one of the topics lie on its axis, all others are near to none."""

    def embed(self, texts: Sequence[str]) -> list[Vector]:
        self._record("embed", texts)
        places = [next((i for i, topic in enumerate(TOPICS) if topic in text.lower()), None) for text in texts]
        return [Vector(tuple(float(i == place) for i in range(len(TOPICS))), 3) for place in places]


def makers() -> dict[str, Any]:
    made = built_in_makers()
    encoder = {name: made[name] for name in ("ner", "sentiment", "qa")} | {"classify": FakeModel}

    def embedding(name: str) -> Any:
        def make(**more: Any) -> FakeModel:
            model = encoder[name](**more)
            model.embed = Embedder.embed.__get__(model)  # type: ignore[method-assign]
            return model  # type: ignore[no-any-return]

        return make

    def writer(**more: Any) -> FakeModel:
        return SlowModel(pause=0.002, kind="causal", completions=lambda _: STORY, max_tokens=2048, **more)

    return made | {name: embedding(name) for name in encoder} | {"generation": writer}


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[FakeEngine]:
    with FakeEngine(replace(own_settings(tmp_path), profile="embedded"), makers(), installed_plugins()) as made:
        yield made


def steps(engine: FakeEngine, now: Conversation, cancel: CancelToken | None = None) -> list[Step]:
    async def read() -> list[Step]:
        answers = Answers(Context(engine, engine.settings.data))
        async with aclosing(answers.answer(now, cancel or CancelToken())) as found:
            return [step async for step in found]

    return asyncio.run(read())


def answer(engine: FakeEngine, message: str, *documents: Document, **changes: Any) -> ChatTurn:
    now = Conversation(**changes).ask(message, documents)
    turn = steps(engine, now)[-1].turn
    assert turn.finished
    return turn


def talk(*turns: tuple[str, str], system: str = "") -> Conversation:
    return Conversation(
        system=system,
        turns=tuple(ChatTurn(message=message, answer=answer, finished=bool(answer)) for message, answer in turns),
    )


# Commands.


@pytest.mark.parametrize(
    ("message", "name", "arguments", "text"),
    [
        ("/sentiment I love it.", "sentiment", {}, "I love it."),
        ("  /QA\nWho?", "qa", {}, "Who?"),
        ("/help", "help", {}, ""),
        ("/summarize --length short --style=list Text.", "summarize", {"length": "short", "style": "list"}, "Text."),
        ('/ner --labels ["PER"] Ada', "ner", {"labels": ["PER"]}, "Ada"),
        ('/qa --context "It is red." Which colour?', "qa", {"context": "It is red."}, "Which colour?"),
        ("/ner a --b c", "ner", {}, "a --b c"),
    ],
)  # fmt: skip
def test_a_command_has_a_name_arguments_and_a_text(message: str, name: str, arguments: Any, text: str) -> None:
    assert commands.parse(message) == commands.Command(name, text, arguments)


@pytest.mark.parametrize("message", ["hello", "/etc/hosts is a file", "a /sentiment b", "/", "1/2 or 3"])
def test_other_messages_are_no_commands(message: str) -> None:
    assert commands.parse(message) is None


def test_lines_below_are_the_texts_to_compare() -> None:
    read = commands.fields_of(Similarity(), "Money back\nRefunds take a week.\n\n We open at nine. ", None)
    assert read == {"text": "Money back", "candidates": ["Refunds take a week.", "We open at nine."]}
    assert commands.fields_of(Similarity(), "Weight", PHONE)["candidates"] == [PHONE.text]
    with pytest.raises(InvalidInputError, match="write the candidates on the lines below the text"):
        commands.fields_of(Similarity(), "Money back", None)


def test_labels_stand_before_a_colon() -> None:
    options = type("Named", (TaskOptions,), {"__annotations__": {"kinds": LabelNames}, "kinds": None})
    task: Any = type("Sorting", (), {"options_type": options})()
    assert commands.labels_of(task, "billing, bug: My invoice: wrong.") == (
        {"kinds": "billing, bug"},
        "My invoice: wrong.",
    )
    assert commands.labels_of(task, "My invoice is wrong.") == ({}, "My invoice is wrong.")
    assert commands.labels_of(task, "One line\nand more: text") == ({}, "One line\nand more: text")
    plain: Any = type("Plain", (), {"options_type": TaskOptions})()
    assert commands.labels_of(plain, "a, b: c") == ({}, "a, b: c")


def test_commands_are_task_names_and_aliases_and_say_the_near_miss(engine: FakeEngine) -> None:
    found = {word: commands.find(engine.plugins, word).name for word in ("sentiment", "translate", "text_generation")}
    assert found == {"sentiment": "sentiment", "translate": "translation", "text_generation": "generation"}
    with pytest.raises(UnknownNameError, match=r"Unknown command '/sentimant'\. Did you mean '/sentiment'\?"):
        commands.find(engine.plugins, "sentimant")


def test_a_command_reads_its_text_or_the_attached_document(engine: FakeEngine) -> None:
    tasks = engine.plugins.tasks
    read = commands.fields_of
    assert read(tasks["sentiment"], "Note: fine.", PHONE) == {"text": "Note: fine."}
    assert read(tasks["summarization"], "", PHONE) == {"text": PHONE.text}
    assert read(tasks["translation"], "fr: See: a cat.", None) == {"text": "See: a cat.", "target_language": "fr"}
    assert read(tasks["translation"], "fr: ", PHONE) == {"text": "fr:"}
    assert read(tasks["qa"], "How long?", PHONE) == {"question": "How long?", "context": PHONE.text}
    assert read(tasks["qa"], "How long?\nTwo days.\nOr so.", None)["context"] == "Two days.\nOr so."
    assert read(tasks["generation"], "Once", None) == {"prompt": "Once"}


def test_a_missing_text_is_asked_for(engine: FakeEngine) -> None:
    assert answer(engine, "/sentiment").error == (
        "Expected a text, found none: attach a document, or write the text after the command."
    )
    assert answer(engine, "/qa How long?").error == (
        "Expected a context, found none: attach a document, or write the context on the lines below the question."
    )
    with pytest.raises(InvalidInputError, match="qa needs a question"):
        commands.fields_of(engine.plugins.tasks["qa"], "", PHONE)


def test_help_lists_every_task(engine: FakeEngine) -> None:
    told = answer(engine, "/help")
    assert "`/translate fr: text`: Translate a text" in told.answer
    assert "`/qa question + context`" in told.answer
    assert all(task.summary in told.answer for task in engine.plugins.tasks.values())
    assert told.aside
    assert engine.models == []


# Plain words.


@pytest.mark.parametrize(
    ("message", "question", "text"),
    [
        ("what is the mood of: I hated it: all of it", "what is the mood of", "I hated it: all of it"),
        ("Find the names\nAda met Bob.\nIn Oslo.", "Find the names", "Ada met Bob.\nIn Oslo."),
        ("What does “good evening” mean?", "What does mean?", "good evening"),
        ('Is "a dull film" praise?', "Is praise?", "a dull film"),
    ],
)
def test_a_message_is_split_into_a_request_and_its_text(message: str, question: str, text: str) -> None:
    assert routing.split(message) == routing.TextRequest(question, text)


@pytest.mark.parametrize("message", ["hello", "see https://example.org/a:b", "10:30 is fine", 'a "b" c'])
def test_messages_without_a_text_of_their_own_are_not_split(message: str) -> None:
    assert routing.split(message) is None


def test_plain_words_go_to_the_nearest_task_and_say_so(engine: FakeEngine) -> None:
    turn = answer(engine, "what is the mood of: I love every minute.")
    assert (turn.task, turn.result and turn.result["label"]) == ("sentiment", "positive")
    assert turn.inputs == {"text": "I love every minute."}
    assert turn.notes == ("Chosen task: sentiment (similarity 1.00).",)
    assert turn.others == ("chat", "classify", "entities", "ner", "qa", "summarization", "translation")


def test_one_click_asks_another_task(engine: FakeEngine) -> None:
    now = Conversation().ask("what is the mood of: Ada saw Oslo")
    now = now.answered(steps(engine, now)[-1].turn)
    turn = steps(engine, now.choose("ner"))[-1].turn
    assert (turn.task, turn.answer) == ("ner", "PER Ada 0.99\nLOC Oslo 0.99")
    turn = steps(engine, now.choose("chat"))[-1].turn
    assert (turn.task, turn.answer) == ("generation", STORY)


@pytest.mark.long
def test_below_the_threshold_it_is_chat(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routing, "THRESHOLD", 1.5)
    turn = answer(engine, "what is the mood of: I love every minute.")
    assert (turn.task, turn.answer) == ("generation", STORY)
    assert turn.notes == ("Answered as chat: no task is similar enough (the closest, sentiment, has similarity 1.00).",)
    plain = answer(engine, "I love every minute.")
    assert (plain.task, plain.notes, plain.others) == ("generation", (), ())


def test_a_language_is_read_from_plain_words(engine: FakeEngine) -> None:
    turn = answer(engine, "translate it to French for the last time: Good morning. See you soon.")
    assert turn.inputs == {"text": "Good morning. See you soon.", "target_language": "fr", "source_language": None}
    assert turn.answer.startswith("Bonjour. À bientôt.")


def test_a_question_goes_to_the_attached_document(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routing, "THRESHOLD", 1.5)
    turn = answer(engine, "How long does the battery last?", PHONE)
    assert (turn.task, turn.result and turn.result["text"]) == ("qa", "two days")
    assert turn.notes == ("Chosen task: qa (a question about a text).",)


def test_without_an_encoder_the_chat_answers_and_says_why(engine: FakeEngine) -> None:
    from nlptasks import OfflineError

    def offline(**_: Any) -> FakeModel:
        raise OfflineError("minilm is not in the cache.")

    engine.makers |= dict.fromkeys(("classify", "ner", "qa", "sentiment"), offline)
    turn = answer(engine, "what is the mood of: I love it.")
    assert turn.answer == STORY
    assert turn.notes == ("No task could be chosen: Minilm is not in the cache.",)


# Attachments.


def test_texts_of_any_usual_encoding_are_read(tmp_path: Path) -> None:
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "cp1252"):
        file = tmp_path / f"{encoding}.txt"
        file.write_bytes("Café\r\nau lait".encode(encoding))
        assert attachments.read(file) == Document(name=file.name, text="Café\nau lait")


def test_word_documents_give_paragraphs_and_tables(tmp_path: Path) -> None:
    import docx

    made = docx.Document()
    made.add_paragraph("Before.")
    table = made.add_table(rows=1, cols=2)
    table.cell(0, 0).text, table.cell(0, 1).text = "left", "right"
    made.add_paragraph("After.")
    made.save(str(tmp_path / "a.docx"))
    assert attachments.read(tmp_path / "a.docx").text == "Before.\nleft\tright\nAfter."


def pdf(text: str) -> bytes:
    """A page with one line of text."""
    stream = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET".encode()
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R "
        b"/Resources << /Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
    ]
    body, places = b"%PDF-1.4\n", []
    for number, one in enumerate(objects, 1):
        places.append(len(body))
        body += b"%d 0 obj\n%s\nendobj\n" % (number, one)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    return body + b"xref\n0 5\n0000000000 65535 f \n%strailer\n<< /Size 5 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF" % (
        table,
        len(body),
    )


def test_pdf_files_give_their_text(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(pdf("The lease ends in May."))
    assert attachments.read(tmp_path / "a.pdf").text == "The lease ends in May."


@pytest.mark.parametrize(
    ("name", "data", "sentence"),
    [
        ("a.odt", b"x", r"a\.odt: expected \.txt, \.md, \.pdf, \.docx, found \.odt"),
        ("a.txt", b"  \n", r"a\.txt: expected text, found none"),
        ("a.txt", b"\x00\x01\x02", r"a\.txt: expected text, found binary data"),
        ("a.txt", b"x" * 300_001, r"a\.txt: expected at most 300,000 characters, found 300,001: split the file"),
        ("a.pdf", b"no pdf", r"a\.pdf cannot be read as a PDF"),
        ("a.docx", b"no zip", r"a\.docx cannot be read as a Word document"),
    ],
)
def test_files_that_hold_no_text_are_refused(tmp_path: Path, name: str, data: bytes, sentence: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(AttachmentError, match=sentence):
        attachments.read(tmp_path / name)


def test_a_scanned_page_is_told_to_need_ocr(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(pdf(""))
    with pytest.raises(AttachmentError, match="Scanned pages need OCR first"):
        attachments.read(tmp_path / "a.pdf")


# Conversations.


def test_turns_are_undone_retried_and_edited() -> None:
    now = talk(("one", "1"), ("two", "2"), ("three", "3"))
    shorter, turn = now.undo()
    assert (turn and turn.message, [one.message for one in shorter.turns]) == ("three", ["one", "two"])
    again = now.retry()
    assert (again.waiting, again.turns[-1].tries, again.turns[-1].answer) == (True, 1, "")
    edited = now.edit(1, "other")
    assert [(one.message, one.answer) for one in edited.turns] == [("one", "1"), ("other", "")]
    assert now.turns[-1].answer == "3"


def test_a_model_is_given_the_system_message_and_what_was_said() -> None:
    now = talk(("one", "1"), ("/help", "list"), ("two", ""), system="Be brief.")
    now = now.model_copy(
        update={"turns": (now.turns[0], now.turns[1].model_copy(update={"aside": True}), now.turns[2])}
    )
    assert [(m.role, m.content) for m in conversation.messages(now)] == [
        ("system", "Be brief."), ("user", "one"), ("assistant", "1"), ("user", "two")
    ]  # fmt: skip
    with_document = conversation.messages(Conversation().ask("Sum up.", [PHONE]))
    assert with_document[0].content == f"Sum up.\n\nphone.txt:\n{PHONE.text}"


@pytest.mark.parametrize(
    ("room", "left", "dropped"),
    [(100, ["s", "a", "b", "c", "d", "e"], 0), (50, ["s", "c", "d", "e"], 2), (39, ["s", "e"], 4), (5, ["s", "e"], 4)],
)
def test_the_oldest_pairs_leave_a_full_window(room: int, left: list[str], dropped: int) -> None:
    roles = ("system", "user", "assistant", "user", "assistant", "user")
    given = [
        Message.model_validate({"role": role, "content": word}) for role, word in zip(roles, "sabcde", strict=True)
    ]
    kept, gone = conversation.fit(given, [10] * 6, room)
    assert ([message.content for message in kept], gone) == (left, dropped)


def test_what_does_not_fit_the_window_is_said(engine: FakeEngine) -> None:
    def small(**more: Any) -> FakeModel:
        return FakeModel(kind="causal", completions=lambda _: "Yes.", max_tokens=100, **more)

    engine.makers["generation"] = small
    now = talk(("word " * 10, "word " * 10), ("word " * 10, "word"), system="Be brief.").ask("And now?")
    assert steps(engine, now)[-1].turn.notes == (
        "The 2 oldest messages exceed the model's context window and were left out.",
    )
    [prompt] = engine.models[-1].calls[-1][1]
    assert [message.content.split()[0] for message in prompt] == ["Be", "word", "word", "And"]
    turn = answer(engine, "word " * 200)
    assert turn.notes == ("Only the first 209 characters of this message fit into the model's context window.",)


def test_export_as_markdown_and_json() -> None:
    now = Conversation(system="Be brief.").ask("/sentiment Fine.", [PHONE])
    now = now.answered(
        now.turns[-1].model_copy(update={"task": "sentiment", "answer": "positive 0.98", "finished": True})
    )
    assert conversation.as_markdown(now) == (
        "# /sentiment Fine.\n\n**System**\n\nBe brief.\n\n**You**\n\n/sentiment Fine.\n\n*Attached: phone.txt*\n\n"
        "**nlptasks (sentiment)**\n\npositive 0.98\n"
    )
    read = json.loads(conversation.as_json(now))
    assert read["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "/sentiment Fine."},
        {"role": "assistant", "content": "positive 0.98"},
    ]
    assert read["turns"][0]["documents"][0]["text"] == PHONE.text


def test_conversations_survive_the_browser_and_the_oldest_leave_when_it_is_full() -> None:
    kept = [talk((word, "answer " * 20)) for word in ("new", "older", "oldest")]
    packed, dropped = conversation.pack(kept)
    assert dropped == 0
    assert conversation.unpack(json.loads(json.dumps(packed))) == kept
    size = len(json.dumps(packed[0]))
    packed, dropped = conversation.pack(kept, room=2 * size + 20)
    assert ([one.title for one in conversation.unpack(packed)], dropped) == (["new", "older"], 1)
    assert conversation.unpack([{"turns": 3}, "x", packed[0]]) == kept[:1]
    assert conversation.unpack(None) == []


def test_a_conversation_that_another_tab_went_on_with_is_kept_beside_it() -> None:
    here = talk(("one", "1")).to_save([])
    assert here.to_save([here]).id == here.id
    there = here.ask("two").to_save([here])
    assert (there.id, there.saved > here.saved) == (here.id, True)
    both = [there, here.ask("three").to_save([there])]
    assert [one.turns[-1].message for one in both] == ["two", "three"]
    assert both[1].id != there.id
    packed, _ = conversation.pack([both[0], here, both[1]])
    assert conversation.unpack(packed) == [both[1], there, here]


def test_a_list_read_before_this_tab_s_last_save_is_no_other_tab() -> None:
    asked = talk(("one", "1")).ask("two").to_save([])
    answered = asked.answered(asked.turns[-1].model_copy(update={"answer": "2", "finished": True})).to_save([asked])
    assert answered.to_save([asked]).id == asked.id


def test_a_conversation_of_an_earlier_version_is_read_from_the_browser() -> None:
    turn = {"said": "/sentiment Fine.", "task": "sentiment", "answer": "positive 0.98", "done": True}
    [read] = conversation.unpack([{"id": "0123456789ab", "saved": 7, "turns": [turn]}])
    assert (read.turns[0].message, read.turns[0].answer, read.waiting) == ("/sentiment Fine.", "positive 0.98", False)
    assert conversation.unpack(conversation.pack([read])[0]) == [read]


# Answers.


def test_a_chat_streams_and_knows_what_was_said(engine: FakeEngine) -> None:
    engine.makers["generation"] = lambda **more: SlowModel(
        pause=0.03, kind="causal", completions=lambda _: "a b c d e f g h i j", max_tokens=2048, **more
    )
    found = steps(engine, talk(("one", "1"), system="Be brief.").ask("two"))
    texts = [step.turn.answer for step in found if step.turn.answer]
    assert len(texts) > 2
    assert all(later.startswith(earlier) for earlier, later in pairwise(texts))
    assert texts[-1] == "a b c d e f g h i j"
    [prompt] = engine.models[-1].calls[-1][1]
    assert [message.content for message in prompt] == ["Be brief.", "one", "1", "two"]


def test_stop_ends_the_computation_within_one_step_and_keeps_the_text(engine: FakeEngine) -> None:
    engine.makers["generation"] = built_in_makers()["generation"]
    cancel = CancelToken()

    async def read() -> ChatTurn:
        answers = Answers(Context(engine, engine.settings.data))
        async with aclosing(answers.answer(Conversation().ask("Tell."), cancel)) as found:
            async for step in found:
                if step.turn.answer:
                    cancel.cancel()
        return step.turn

    turn = asyncio.run(read())
    [model] = [model for model in engine.models if isinstance(model, SlowModel) and model.steps]
    assert turn.notes == ("Stopped.",)
    assert turn.finished
    assert STORY.startswith(turn.answer)
    assert 0 < model.steps < 100


def test_leaving_the_loop_ends_the_computation(engine: FakeEngine) -> None:
    engine.makers["generation"] = built_in_makers()["generation"]

    async def read() -> None:
        answers = Answers(Context(engine, engine.settings.data))
        async with aclosing(answers.answer(Conversation().ask("Tell."), CancelToken())) as found:
            async for step in found:
                if step.turn.answer:
                    break

    asyncio.run(read())
    until(lambda: engine.models[-1].token.cancelled)


@pytest.mark.long
def test_a_second_try_draws_its_words(engine: FakeEngine) -> None:
    now = talk(("one", "1"))
    steps(engine, now.retry())
    assert engine.models[-1].decodings[-1].do_sample
    steps(engine, now.ask("two"))
    assert not engine.models[-1].decodings[-1].do_sample


def test_errors_are_one_sentence_and_not_part_of_the_chat(engine: FakeEngine) -> None:
    turn = answer(engine, "/sentiment --treshold 0.9 I love it.")
    assert turn.error == "Option 'treshold' is not known; did you mean 'threshold'?"
    now = Conversation(turns=(turn,)).ask("hello")
    assert [message.content for message in conversation.messages(now)] == ["hello"]


def test_a_picked_adapter_answers(engine: FakeEngine) -> None:
    turn = answer(engine, "/sentiment I love it.", adapters=("ner/mine", "sentiment/gone"))
    assert turn.error.startswith("Unknown adapter 'gone'.")
