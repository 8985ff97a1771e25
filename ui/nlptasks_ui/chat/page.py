"""The chat page: the list of conversations, the open one, and the message box."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import Any

from nlptasks.surfaces import sentence
from nlptasks_ui import html
from nlptasks_ui.amounts import count
from nlptasks_ui.chat import attachments, browser, show
from nlptasks_ui.chat.answers import Answers, Step
from nlptasks_ui.chat.attachments import AttachmentError
from nlptasks_ui.chat.conversation import Conversation, Document, as_file, pack, unpack
from nlptasks_ui.chat.pending import PendingAnswer, RunningAnswers, abandon, is_busy
from nlptasks_ui.context import MODEL_QUEUE, Context
from nlptasks_ui.events import LIGHT, REFUSED

_PLACEHOLDER = "Write a message, ask about an attached document, or type /help."
_ATTACHED = "Document attached. Ask a question about it, or type `/summarize`."

Updates = dict[Any, Any]


def build(context: Context) -> None:
    """Add the page to the current Blocks."""
    _Page(context)


class _Page:
    """The components of the page and their events."""

    def __init__(self, context: Context) -> None:
        import gradio as gr

        self._context = context
        self._running = RunningAnswers(Answers(context))
        self.open = gr.State(Conversation())
        self.pending = gr.State(None)
        # The conversations in the browser, filled by the script of each event that reads them; and the change to apply.
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
            buttons=[], render_markdown=False, placeholder=_PLACEHOLDER, elem_id="chat-turns",
        )  # fmt: skip
        # Disabled until the conversations are read from the browser: a message belongs to one of them.
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
            self.markdown = gr.Button("Download .md", size="sm", elem_id="chat-markdown")
            self.json = gr.Button("Download .json", size="sm", elem_id="chat-json")
            self.delete = gr.Button("Delete", size="sm", variant="stop", elem_id="chat-delete")
        with gr.Row(elem_classes="nlp-actions"):
            self.really = gr.Button("Really delete", size="sm", variant="stop", visible=False, elem_id="chat-really")
            self.keep = gr.Button("Cancel", size="sm", visible=False, elem_id="chat-keep")
        self.file = gr.JSON(visible=False)

    def _add_settings(self) -> None:
        import gradio as gr

        with gr.Accordion("Settings", open=False):
            self.system = gr.Textbox(
                label="System prompt", info="Instructions that the language model reads before the conversation.",
                lines=3, max_lines=8, elem_id="chat-system",
            )  # fmt: skip
            self.adapters = gr.Dropdown(
                [], multiselect=True, label="Adapters", info="At most one per task; the other tasks use their default.",
                elem_id="chat-adapters",
            )  # fmt: skip

    def _connect(self) -> None:
        import gradio as gr

        settings = [self.system, self.adapters]
        state = [self.open, self.pending, *settings]
        waiting = [self.open, self.pending, self.chat, self.words, self.fault, self.stop]
        starts = [
            self.words.submit(self._send, [self.words, *state], waiting, **LIGHT),
            self.chat.retry(self._retry, state, waiting, **LIGHT),
            self.chat.edit(_with_event(self._edit, gr.EditData), state, waiting, **LIGHT),
            self.chat.option_select(_with_event(self._choose_task, gr.SelectData), state, waiting, **LIGHT),
        ]
        for start in starts:
            # The question is kept before it is answered.
            self._connect_answer(self._save_after(start).success, concurrency_id=MODEL_QUEUE)
        self.stop.click(self._stop, [self.open, self.pending], [self.open, self.chat, self.stop], **LIGHT)
        whole = [self.open, self.pending, self.chat, self.fault, self.stop, self.list, *settings]
        two: dict[str, Any] = {**LIGHT, "js": browser.reading(2)}
        three: dict[str, Any] = {**LIGHT, "js": browser.reading(3)}
        current = [self.open, self.pending, self.store]
        self._write(self.chat.undo(self._undo, current, [*whole, self.change, self.words], **three))
        self._write(self.really.click(self._delete, current, [*whole, self.change], **three))
        self.new.click(self._new, [self.pending, self.store], whole, **two)
        chosen = self.list.input(self._choose, [self.list, self.pending, self.store], whole, **three)
        asking = [self.delete, self.really, self.keep]
        for button, ask in ((self.delete, True), (self.keep, False), (self.really, False)):
            button.click(_asking(ask), None, asking, **LIGHT)
        for button, kind in ((self.markdown, "md"), (self.json, "json")):
            button.click(partial(as_file, kind=kind), self.open, self.file, **LIGHT).then(
                None, self.file, None, js=browser.DOWNLOAD
            )
        # With the store as its input, an event without a trigger would also run at each change of the store.
        loaded = gr.on(None, lambda: None, None, None, **LIGHT)
        ready = loaded.then(self._load, self.store, [*whole, self.words], js=browser.reading(1), **LIGHT)
        ready.then(None, None, None, js=browser.FOCUS)
        # Most pages open without a question that waits: they take no place in the queue of the models.
        for event in (ready, chosen):
            self._connect_answer(event.success, concurrency_id="chat-follow", concurrency_limit=None)

    def _connect_answer(self, then: Any, **queue: Any) -> None:
        """Begin the answer of a question that waits, or go on showing it, after an event."""
        answer = then(
            self._answer, [self.open, self.pending], [self.open, self.chat, self.stop],
            **queue, show_progress="minimal", show_progress_on=self.fault,
            trigger_mode="multiple",  # an abandoned answer may still wait in the queue
            api_visibility="private",
        )  # fmt: skip
        self._save_after(answer)
        answer.failure(self._refused, [self.open, self.pending], [self.open, self.chat, self.stop], **LIGHT)

    def _save_after(self, event: Any) -> Any:
        current, saved = [self.open, self.pending, self.store], [self.open, self.change, self.list, self.fault]
        return self._write(event.success(self._save_new, current, saved, js=browser.reading(3), **LIGHT))

    def _write(self, event: Any) -> Any:
        """Let the browser apply the change that an event returns."""
        return event.success(None, [self.change, self.fault], self.fault, js=browser.WRITE, api_visibility="private")

    def _send(
        self,
        words: Mapping[str, Any],
        now: Conversation,
        pending: PendingAnswer | None,
        system: str,
        adapters: Sequence[str],
    ) -> Updates:
        import gradio as gr

        message, files = (words.get("text") or "").strip(), words.get("files") or []
        if is_busy(pending) or not (message or files):
            return {self.pending: pending}
        try:
            documents = [attachments.read(Path(file)) for file in files]
        except AttachmentError as error:
            return {self.fault: html.alert(sentence(error)), self.words: {"text": message, "files": []}}
        if not message:
            return self._attached(now, documents)
        update = self._begin(_with_settings(now, system, adapters).ask(message, documents))
        return {**update, self.words: gr.MultimodalTextbox(value={"text": "", "files": []})}

    def _attached(self, now: Conversation, documents: Sequence[Document]) -> Updates:
        """A turn for documents without a message: it waits for the next message."""
        now = now.ask("", documents)
        now = now.answered(now.turns[-1].model_copy(update={"finished": True, "answer": _ATTACHED}))
        return {
            self.open: now,
            self.chat: show.turns(self._context, now.turns),
            self.words: {"text": "", "files": []},
            self.fault: "",
        }

    def _retry(self, now: Conversation, pending: PendingAnswer | None, system: str, adapters: Sequence[str]) -> Updates:
        return self._unless_busy(pending, _with_settings(now, system, adapters).retry)

    def _edit(
        self, event: Any, now: Conversation, pending: PendingAnswer | None, system: str, adapters: Sequence[str]
    ) -> Updates:
        place, message = _turn_of(event.index), str(event.value).strip()
        if not message:
            return {self.chat: show.turns(self._context, now.turns)}
        return self._unless_busy(pending, lambda: _with_settings(now, system, adapters).edit(place, message))

    def _choose_task(
        self, event: Any, now: Conversation, pending: PendingAnswer | None, system: str, adapters: Sequence[str]
    ) -> Updates:
        return self._unless_busy(pending, lambda: _with_settings(now, system, adapters).choose(str(event.value)))

    def _unless_busy(self, pending: PendingAnswer | None, change: Callable[[], Conversation]) -> Updates:
        return {self.pending: pending} if is_busy(pending) else self._begin(change())

    def _begin(self, now: Conversation) -> Updates:
        import gradio as gr

        return {
            self.open: now,
            self.pending: PendingAnswer(),
            self.chat: [
                *show.turns(self._context, now.turns[:-1]),
                *show.step(self._context, Step(now.turns[-1], "Waiting")),
            ],
            self.fault: "",
            self.stop: gr.Button(interactive=True),
        }

    async def _answer(self, now: Conversation, pending: PendingAnswer | None) -> AsyncGenerator[Updates, None]:
        """Updates of the page while the answer is written."""
        import gradio as gr

        # The user may have opened another conversation since, whose question is not saved yet: it has its own event.
        if pending is None or not pending.saved or pending.started or pending.abandoned or not now.waiting:
            yield {self.stop: gr.skip()}
            return
        pending.started = True
        before = show.turns(self._context, now.turns[:-1])
        try:
            async with aclosing(self._running.steps(now, pending.cancel)) as steps:
                async for step in steps:
                    if pending.abandoned:
                        break
                    messages = [*before, *show.step(self._context, step)]
                    if step.turn.finished:
                        pending.finished = True
                        now = now.answered(step.turn)
                        yield {self.open: now, self.chat: messages, self.stop: gr.Button(interactive=False)}
                    else:
                        yield {self.chat: messages}
        finally:
            pending.finished = True

    def _stop(self, now: Conversation, pending: PendingAnswer | None) -> Updates:
        """Stop the answer; one that still waits in the queue is marked as finished, so that it never starts."""
        import gradio as gr

        if pending:
            pending.cancel.cancel()
        if pending is None or pending.started:
            return {self.stop: gr.Button(interactive=False)}
        return self._unanswered(now, pending, notes=("Stopped.",))

    def _refused(self, now: Conversation, pending: PendingAnswer | None) -> Updates:
        """The queue was full: the last turn ends with an error."""
        return self._unanswered(now, pending, error=REFUSED, aside=True)

    def _unanswered(self, now: Conversation, pending: PendingAnswer | None, **why: Any) -> Updates:
        """End the last turn without a computation."""
        import gradio as gr

        if pending:
            pending.started = pending.finished = True
        if now.waiting:
            now = now.answered(now.turns[-1].model_copy(update={**why, "finished": True}))
        return {
            self.open: now,
            self.chat: show.turns(self._context, now.turns),
            self.stop: gr.Button(interactive=False),
        }

    # Handlers of the list of conversations.

    def _save_new(self, now: Conversation, pending: PendingAnswer | None, stored: Any) -> Updates:
        """Save a conversation that has a new question or answer."""
        if pending:
            pending.saved = True
        conversations = unpack(stored)
        same = next((one for one in conversations if one.id == now.id and one.turns == now.turns), None)
        if same or not now.turns:
            return {self.change: None, **({self.open: same} if same and same.saved != now.saved else {})}
        return self._save(now, conversations)

    def _save(self, now: Conversation, stored: Sequence[Conversation]) -> Updates:
        """Put the conversation at the top of the list and into the browser, or remove one that has no turns left."""
        import gradio as gr

        before, now = now.id, now.to_save(stored)
        others = [one for one in stored if one.id != now.id]
        wanted = [now, *others] if now.turns else others
        packed, dropped = pack(wanted)
        notes = []
        if now.id != before and now.turns:
            notes.append("This conversation was continued in another tab: both versions are kept.")
        if dropped:
            notes.append(f"Removed {count(dropped, 'old conversation')}, because the browser's storage is full.")
        removed = [one.id for one in wanted[len(packed) :]]
        return {
            self.open: now,
            self.change: {
                "saved": packed[0] if packed and now.turns else None,
                "removed": removed if now.turns else [*removed, now.id],
            },
            self.list: gr.Radio(_titles(wanted[: len(packed)]), value=now.id if now.turns else None),
            **({self.fault: html.alert(" ".join(notes))} if notes else {}),
        }

    def _load(self, stored: Any) -> Updates:
        import gradio as gr

        conversations = unpack(stored)
        opened = self._opened(conversations[0] if conversations else Conversation(), conversations)
        return {**opened, self.words: gr.MultimodalTextbox(interactive=True)}

    async def _new(self, pending: PendingAnswer | None, stored: Any) -> Updates:
        await abandon(pending)
        return self._opened(Conversation(), unpack(stored))

    async def _choose(self, name: str, pending: PendingAnswer | None, stored: Any) -> Updates:
        await abandon(pending)
        conversations = unpack(stored)
        chosen = next((one for one in conversations if one.id == name), Conversation())
        return self._opened(chosen, conversations)

    async def _delete(self, now: Conversation, pending: PendingAnswer | None, stored: Any) -> Updates:
        await abandon(pending, stop=True)
        others = [one for one in unpack(stored) if one.id != now.id]
        change = {"saved": None, "removed": [now.id]}
        return {**self._opened(others[0] if others else Conversation(), others), self.change: change}

    async def _undo(self, now: Conversation, pending: PendingAnswer | None, stored: Any) -> Updates:
        """Remove the last turn and put its message back into the message box."""
        await abandon(pending, stop=True)
        conversations = unpack(stored)
        now, turn = now.undo()
        words = {"text": turn.message if turn else "", "files": []}
        return {**self._opened(now, conversations), **self._save(now, conversations), self.words: words}

    def _opened(self, now: Conversation, stored: Sequence[Conversation]) -> Updates:
        """Updates that open a conversation; a message that is being typed stays."""
        import gradio as gr

        choices = self._adapters()
        pending = self._running.pending(now)
        return {
            self.open: now,
            self.pending: pending,
            self.chat: show.turns(self._context, now.turns),
            self.fault: "",
            self.stop: gr.Button(interactive=pending is not None),
            self.list: gr.Radio(_titles(stored), value=now.id if now.turns else None),
            self.system: now.system,
            self.adapters: gr.Dropdown(choices, value=[name for name in now.adapters if name in choices]),
        }

    def _adapters(self) -> list[str]:
        """The adapters in the user's store, as TASK/NAME, which training adds to at run time."""
        from nlptasks.store import AdapterStore

        store = AdapterStore(self._context.engine.settings)
        return [f"{task}/{name}" for task in self._context.engine.plugins.tasks for name in store.names(task)]


def _asking(ask: bool) -> Callable[[], list[Any]]:
    """A handler that shows the question whether to delete, or the button that leads to it."""
    import gradio as gr

    return lambda: [gr.Button(visible=visible) for visible in (not ask, ask, ask)]


def _with_event(handler: Callable[..., Updates], kind: type) -> Callable[..., Updates]:
    """A handler whose first argument is the event's data, which Gradio recognizes by its type."""

    def handle(event: Any, *values: Any) -> Updates:
        return handler(event, *values)

    handle.__annotations__ = {"event": kind}
    return handle


def _with_settings(now: Conversation, system: str, adapters: Sequence[str]) -> Conversation:
    return now.model_copy(update={"system": system or "", "adapters": tuple(adapters or ())})


def _turn_of(index: Any) -> int:
    """The turn of a message; each turn has two messages."""
    return int(index[0] if isinstance(index, list | tuple) else index) // 2


def _titles(conversations: Sequence[Conversation]) -> list[tuple[str, str]]:
    return [(one.title, one.id) for one in conversations]
