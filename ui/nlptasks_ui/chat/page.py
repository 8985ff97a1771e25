"""The chat page: a list of conversations, the open one, and what is said next."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

from nlptasks_ui import html
from nlptasks_ui.chat import attachments, browser, show
from nlptasks_ui.chat.answers import Answers, Step
from nlptasks_ui.chat.attachments import AttachmentError
from nlptasks_ui.chat.conversation import Conversation, Document, as_json, as_markdown, pack, unpack
from nlptasks_ui.chat.pending import Ticket, is_busy, leave
from nlptasks_ui.context import MODEL_QUEUE, Context
from nlptasks_ui.errors import REFUSED, sentence
from nlptasks_ui.events import LIGHT

_PLACEHOLDER = "Say something, ask about an attached document, or write /help."

_DOWNLOAD = """(file) => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([file.text], { type: file.type }));
  link.download = file.name;
  link.click();
  URL.revokeObjectURL(link.href);
}"""

_FOCUS = "() => document.querySelector('#chat-words textarea')?.focus()"

Updates = dict[Any, Any]


def build(context: Context) -> None:
    """Add the page to the Blocks that is open."""
    _Page(context)


class _Page:
    """The page's components, and what happens between them."""

    def __init__(self, context: Context) -> None:
        import gradio as gr

        self._context = context
        self._answers = Answers(context)
        self.open = gr.State(Conversation())
        self.ticket = gr.State(None)
        # What the browser keeps, filled by the script of each event that reads it; and what is to change there.
        self.store = gr.JSON(visible=False)
        self.change = gr.JSON(visible=False)
        with gr.Row(elem_classes="nlp-page nlp-chat"):
            with gr.Column(scale=3, min_width=320, elem_classes="nlp-talk"):
                self._add_talk()
            with gr.Column(scale=1, min_width=230, elem_classes="nlp-aside"):
                self._add_list()
                self._add_settings()
        self._connect()

    def _add_talk(self) -> None:
        import gradio as gr

        self.chat = gr.Chatbot(
            label="Conversation", show_label=False, height="min(62vh, 640px)", editable="user", layout="panel",
            buttons=["copy"], placeholder=_PLACEHOLDER, elem_id="chat-turns",
        )  # fmt: skip
        # Not to be filled before the conversations are read from the browser: what is said goes into one of them.
        self.words = gr.MultimodalTextbox(
            label="Your message", show_label=False, placeholder=_PLACEHOLDER, lines=1, max_lines=8, interactive=False,
            file_types=list(attachments.TYPES), file_count="multiple",
            max_plain_text_length=attachments.MAX_CHARACTERS, elem_id="chat-words",
        )  # fmt: skip
        with gr.Row(elem_classes="nlp-actions"):
            self.stop = gr.Button("Stop", variant="stop", size="md", interactive=False, elem_id="chat-stop")
            self.fault = gr.HTML(elem_id="chat-fault")

    def _add_list(self) -> None:
        import gradio as gr

        self.new = gr.Button("New conversation", size="md", elem_id="chat-new")
        self.list = gr.Radio([], label="Conversations", elem_id="chat-list", elem_classes="nlp-choices")
        with gr.Row(elem_classes="nlp-actions"):
            self.markdown = gr.Button("Save .md", size="sm", elem_id="chat-markdown")
            self.json = gr.Button("Save .json", size="sm", elem_id="chat-json")
            self.delete = gr.Button("Delete", size="sm", variant="stop", elem_id="chat-delete")
        self.file = gr.JSON(visible=False)

    def _add_settings(self) -> None:
        import gradio as gr

        with gr.Accordion("Settings", open=False):
            self.system = gr.Textbox(
                label="System prompt", info="What the language model is told before the conversation.", lines=3,
                max_lines=8, elem_id="chat-system",
            )  # fmt: skip
            self.adapters = gr.Dropdown(
                [], multiselect=True, label="Adapters", info="One a task; without one each task has its own.",
                elem_id="chat-adapters",
            )  # fmt: skip

    def _connect(self) -> None:
        import gradio as gr

        settings = [self.system, self.adapters]
        state = [self.open, self.ticket, *settings]
        begun = [self.open, self.ticket, self.chat, self.words, self.fault, self.stop]
        starts = [
            self.words.submit(self._say, [self.words, *state], begun, **LIGHT),
            self.chat.retry(self._retry, state, begun, **LIGHT),
            self.chat.edit(_given(self._edit, gr.EditData), state, begun, **LIGHT),
            self.chat.option_select(_given(self._choose_task, gr.SelectData), state, begun, **LIGHT),
        ]
        asked = [
            start.then(
                self._answer, [self.open, self.ticket], [self.open, self.chat, self.stop],
                concurrency_id=MODEL_QUEUE, show_progress="minimal", show_progress_on=self.fault,
                trigger_mode="multiple",  # one that was left may still wait for its turn
                api_visibility="private",
            )
            for start in starts
        ]  # fmt: skip
        kept = [self.open, self.change, self.list, self.fault]
        for answer in asked:
            self._write(answer.success(self._keep, [self.open, self.store], kept, js=browser.reading(2), **LIGHT))
            answer.failure(self._refused, [self.open, self.ticket], [self.open, self.chat, self.stop], **LIGHT)
        self.stop.click(self._stop, [self.open, self.ticket], [self.open, self.chat, self.stop], **LIGHT)
        whole = [self.open, self.ticket, self.chat, self.fault, self.stop, self.list, *settings]
        two: dict[str, Any] = {**LIGHT, "js": browser.reading(2)}
        three: dict[str, Any] = {**LIGHT, "js": browser.reading(3)}
        known = [self.open, self.ticket, self.store]
        self._write(self.chat.undo(self._undo, known, [*whole, self.change, self.words], **three))
        self._write(self.delete.click(self._delete, known, [*whole, self.change], **three))
        self.new.click(self._new, [self.ticket, self.store], whole, **two)
        self.list.input(self._choose, [self.list, self.ticket, self.store], whole, **three)
        for button, kind in ((self.markdown, "md"), (self.json, "json")):
            button.click(_file(kind), self.open, self.file, **LIGHT).then(None, self.file, None, js=_DOWNLOAD)
        # An event without a trigger that had the store as its input would also follow each change of it.
        loaded = gr.on(None, lambda: None, None, None, **LIGHT)
        ready = loaded.then(self._load, self.store, [*whole, self.words], js=browser.reading(1), **LIGHT)
        ready.then(None, None, None, js=_FOCUS)

    def _write(self, event: Any) -> None:
        """Let the browser make the change that an event has told."""
        event.success(None, [self.change, self.fault], self.fault, js=browser.WRITE, api_visibility="private")

    # What begins an answer.

    def _say(
        self, words: Mapping[str, Any], now: Conversation, ticket: Ticket | None, system: str, adapters: Sequence[str]
    ) -> Updates:
        import gradio as gr

        said, files = (words.get("text") or "").strip(), words.get("files") or []
        if is_busy(ticket) or not (said or files):
            return {self.ticket: ticket}
        try:
            documents = [attachments.read(Path(file)) for file in files]
        except AttachmentError as error:
            return {self.fault: html.alert(sentence(error)), self.words: {"text": said, "files": []}}
        if not said:
            return self._attached(now, documents)
        update = self._begin(_with_settings(now, system, adapters).ask(said, documents))
        return {**update, self.words: gr.MultimodalTextbox(value={"text": "", "files": []})}

    def _attached(self, now: Conversation, documents: Sequence[Document]) -> Updates:
        """A document alone asks for nothing: it waits for what is said next."""
        now = now.ask("", documents)
        now = now.answered(now.turns[-1].model_copy(update={"done": True, "answer": _ATTACHED}))
        return {
            self.open: now,
            self.chat: show.turns(self._context, now.turns),
            self.words: {"text": "", "files": []},
            self.fault: "",
        }

    def _retry(self, now: Conversation, ticket: Ticket | None, system: str, adapters: Sequence[str]) -> Updates:
        return self._unless_busy(ticket, _with_settings(now, system, adapters).retry)

    def _edit(
        self, event: Any, now: Conversation, ticket: Ticket | None, system: str, adapters: Sequence[str]
    ) -> Updates:
        place, said = _turn_of(event.index), str(event.value).strip()
        if not said:
            return {self.chat: show.turns(self._context, now.turns)}
        return self._unless_busy(ticket, lambda: _with_settings(now, system, adapters).edit(place, said))

    def _choose_task(
        self, event: Any, now: Conversation, ticket: Ticket | None, system: str, adapters: Sequence[str]
    ) -> Updates:
        return self._unless_busy(ticket, lambda: _with_settings(now, system, adapters).choose(str(event.value)))

    def _unless_busy(self, ticket: Ticket | None, change: Callable[[], Conversation]) -> Updates:
        return {self.ticket: ticket} if is_busy(ticket) else self._begin(change())

    def _begin(self, now: Conversation) -> Updates:
        import gradio as gr

        return {
            self.open: now,
            self.ticket: Ticket(),
            self.chat: [
                *show.turns(self._context, now.turns[:-1]),
                *show.step(self._context, Step(now.turns[-1], "Waiting")),
            ],
            self.fault: "",
            self.stop: gr.Button(interactive=True),
        }

    async def _answer(self, now: Conversation, ticket: Ticket | None) -> AsyncGenerator[Updates, None]:
        """The answer as it comes."""
        import gradio as gr

        if ticket is None or ticket.begun or ticket.left or not now.waiting:
            yield {self.open: now}
            return
        ticket.begun = True
        before = show.turns(self._context, now.turns[:-1])
        try:
            async with aclosing(self._answers.answer(now, ticket.cancel)) as steps:
                async for step in steps:
                    if ticket.left:
                        break
                    shown = [*before, *show.step(self._context, step)]
                    if step.turn.done:
                        ticket.ended = True
                        now = now.answered(step.turn)
                        yield {self.open: now, self.chat: shown, self.stop: gr.Button(interactive=False)}
                    else:
                        yield {self.chat: shown}
        finally:
            ticket.ended = True

    def _stop(self, now: Conversation, ticket: Ticket | None) -> Updates:
        """End the answer; one that still waits for its turn will find that it has had it."""
        import gradio as gr

        if ticket:
            ticket.cancel.cancel()
        if ticket is None or ticket.begun:
            return {self.stop: gr.Button(interactive=False)}
        return self._unanswered(now, ticket, notes=("Stopped.",))

    def _refused(self, now: Conversation, ticket: Ticket | None) -> Updates:
        """The last question could not wait for its turn."""
        return self._unanswered(now, ticket, error=REFUSED, aside=True)

    def _unanswered(self, now: Conversation, ticket: Ticket | None, **why: Any) -> Updates:
        """The last turn ends without a computation."""
        import gradio as gr

        if ticket:
            ticket.begun = ticket.ended = True
        if now.waiting:
            now = now.answered(now.turns[-1].model_copy(update={**why, "done": True}))
        return {
            self.open: now,
            self.chat: show.turns(self._context, now.turns),
            self.stop: gr.Button(interactive=False),
        }

    # The list of conversations.

    def _keep(self, now: Conversation, stored: Any) -> Updates:
        """What was answered goes into the browser."""
        kept = unpack(stored)
        if now.waiting or now in kept:
            return {self.change: None}
        return self._kept(now, kept)

    def _kept(self, now: Conversation, kept: Sequence[Conversation]) -> Updates:
        """The conversation at the top of the list and in the browser; without turns it leaves both."""
        import gradio as gr

        other, now = now.id, now.beside(kept)
        others = [one for one in kept if one.id != now.id]
        wanted = [now, *others] if now.turns else others
        packed, dropped = pack(wanted)
        said = ["Another tab went on with this conversation: both are kept."] if now.id != other and now.turns else []
        if dropped:
            said.append(f"The oldest {dropped} conversations no longer fit into the browser and were left out.")
        gone = [one.id for one in wanted[len(packed) :]]
        return {
            self.open: now,
            self.change: {
                "kept": packed[0] if packed and now.turns else None,
                "dropped": gone if now.turns else [*gone, now.id],
            },
            self.list: gr.Radio(_titles(wanted[: len(packed)]), value=now.id if now.turns else None),
            self.fault: html.alert(" ".join(said)) if said else "",
        }

    def _load(self, stored: Any) -> Updates:
        import gradio as gr

        kept = unpack(stored)
        opened = self._opened(kept[0] if kept else Conversation(), kept)
        return {**opened, self.words: gr.MultimodalTextbox(interactive=True)}

    async def _new(self, ticket: Ticket | None, stored: Any) -> Updates:
        await leave(ticket)
        return self._opened(Conversation(), unpack(stored))

    async def _choose(self, name: str, ticket: Ticket | None, stored: Any) -> Updates:
        await leave(ticket)
        kept = unpack(stored)
        return self._opened(next((one for one in kept if one.id == name), Conversation()), kept)

    async def _delete(self, now: Conversation, ticket: Ticket | None, stored: Any) -> Updates:
        await leave(ticket)
        kept = [one for one in unpack(stored) if one.id != now.id]
        change = {"kept": None, "dropped": [now.id]}
        return {**self._opened(kept[0] if kept else Conversation(), kept), self.change: change}

    async def _undo(self, now: Conversation, ticket: Ticket | None, stored: Any) -> Updates:
        """Without the last turn, whose words go back into the text box."""
        await leave(ticket)
        kept = unpack(stored)
        now, turn = now.undo()
        words = {"text": turn.said if turn else "", "files": []}
        return {**self._opened(now, kept), **self._kept(now, kept), self.words: words}

    def _opened(self, now: Conversation, kept: Sequence[Conversation]) -> Updates:
        """Another conversation in sight; what is being typed stays."""
        import gradio as gr

        offered = self._adapters()
        return {
            self.open: now,
            self.ticket: None,
            self.chat: show.turns(self._context, now.turns),
            self.fault: "",
            self.stop: gr.Button(interactive=False),
            self.list: gr.Radio(_titles(kept), value=now.id if now.turns else None),
            self.system: now.system,
            self.adapters: gr.Dropdown(offered, value=[name for name in now.adapters if name in offered]),
        }

    def _adapters(self) -> list[str]:
        """The adapters of the user's store, as TASK/NAME; a training may have added one."""
        from nlptasks.store.adapter_store import AdapterStore

        store = AdapterStore(self._context.engine.settings)
        return [f"{task}/{name}" for task in self._context.engine.plugins.tasks for name in store.names(task)]


_ATTACHED = "What shall be done with it? Ask a question about it, or write `/summarize`."


def _given(handler: Callable[..., Updates], kind: type) -> Callable[..., Updates]:
    """A handler whose first argument is what the event brings: gradio finds it by its type."""

    def given(event: Any, *values: Any) -> Updates:
        return handler(event, *values)

    given.__annotations__ = {"event": kind}
    return given


def _with_settings(now: Conversation, system: str, adapters: Sequence[str]) -> Conversation:
    return now.model_copy(update={"system": system or "", "adapters": tuple(adapters or ())})


def _turn_of(index: Any) -> int:
    """The turn of a message: each has two."""
    return int(index[0] if isinstance(index, list | tuple) else index) // 2


def _titles(kept: Sequence[Conversation]) -> list[tuple[str, str]]:
    return [(one.title, one.id) for one in kept]


def _file(kind: str) -> Callable[[Conversation], dict[str, str]]:
    """The open conversation as a file that the browser saves."""
    write, media = {"md": (as_markdown, "text/markdown"), "json": (as_json, "application/json")}[kind]

    def file(now: Conversation) -> dict[str, str]:
        return {"name": f"conversation.{kind}", "type": media, "text": write(now)}

    return file
