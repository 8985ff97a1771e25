"""How well the chat finds the task of a message in plain words, by threshold.

python benchmarks/routing.py

The messages below were written for this measurement and are in no task's `phrases`. Half of them chose `THRESHOLD`
(those with an even number), the other half measures it.
"""

from __future__ import annotations

from nlptasks import Engine
from nlptasks_ui.chat.routing import THRESHOLD, Router, split

CHAT = ""
REVIEW = "The room was tiny, the staff rude, and breakfast cold on both mornings."
NEWS = "Ada Holm of Nordwind AG met the mayor of Bergen on Monday to sign the contract for two ferries."

MESSAGES = [
    ("sentiment", f"what is the mood of: {REVIEW}"),
    ("sentiment", f"Is this a good or a bad review? {'“' + REVIEW + '”'}"),
    ("sentiment", f"tell me if the author liked it: {REVIEW}"),
    ("sentiment", f"Does the following sound angry or pleased: {REVIEW}"),
    ("sentiment", f"sentiment please: {REVIEW}"),
    ("sentiment", f"how positive is this comment?\n{REVIEW}"),
    ("sentiment", f"Classify this feedback as favourable or unfavourable: {REVIEW}"),
    ("sentiment", f"what's the vibe of this: {REVIEW}"),
    ("sentiment", f"Did the guest enjoy the stay? “{REVIEW}”"),
    ("sentiment", f"judge the feeling of the text below\n{REVIEW}"),
    ("ner", f"who and what is named here: {NEWS}"),
    ("ner", f"extract all people and companies from this: {NEWS}"),
    ("ner", f"Please list every place mentioned below:\n{NEWS}"),
    ("ner", f"which organisations occur in this text? “{NEWS}”"),
    ("ner", f"pull out the proper names: {NEWS}"),
    ("ner", f"find persons and locations in: {NEWS}"),
    ("ner", f"highlight the entities: {NEWS}"),
    ("ner", f"What names are in this sentence: {NEWS}"),
    ("ner", f"Tag the people and cities below.\n{NEWS}"),
    ("ner", f"get me the names of all firms in the following: {NEWS}"),
    ("summarization", f"give me a summary of this: {NEWS} {REVIEW}"),
    ("summarization", f"tl;dr of the following: {NEWS} {REVIEW}"),
    ("summarization", f"make this shorter: {NEWS} {REVIEW}"),
    ("summarization", f"what are the key points here?\n{NEWS} {REVIEW}"),
    ("summarization", f"condense this text: {NEWS} {REVIEW}"),
    ("summarization", f"In two sentences, what does this article say: {NEWS} {REVIEW}"),
    ("summarization", f"Summarise for me please: {NEWS} {REVIEW}"),
    ("summarization", f"boil this report down to the essentials\n{NEWS} {REVIEW}"),
    ("summarization", f"a brief overview of this: {NEWS} {REVIEW}"),
    ("summarization", f"recap the text below: {NEWS} {REVIEW}"),
    ("translation", f"translate to French: {REVIEW}"),
    ("translation", f"can you translate this into German for me: {REVIEW}"),
    ("translation", "how would I say “Where is the station?” in Spanish"),
    ("translation", f"in Italian please: {REVIEW}"),
    ("translation", f"I need this in English: {REVIEW}"),
    ("translation", f"translation of this sentence to Dutch: {REVIEW}"),
    ("translation", "what is “good evening” in German?"),
    ("translation", f"Put the following into Portuguese\n{REVIEW}"),
    ("translation", f"turn this into Polish: {REVIEW}"),
    ("translation", f"render this in French: {REVIEW}"),
    (CHAT, "write a poem about: the sea in winter"),
    (CHAT, "explain like I'm five: how do magnets work"),
    (CHAT, "Note: I have to buy milk and bread today"),
    (CHAT, "give me three ideas for: a birthday party"),
    (CHAT, "My question: what is the capital of Norway?"),
    (CHAT, "Reply to this mail: Dear all, the meeting moves to Friday. Can you make it?"),
    (CHAT, "fix the bug in this code:\nfor i in range(10) print(i)"),
    (CHAT, "continue the story: The door opened and nobody was there."),
    (CHAT, "what does “serendipity” come from?"),
    (CHAT, "compare these two: tea and coffee"),
    (CHAT, "Here is my plan: first I paint the wall, then I move the desk"),
    (CHAT, "Joke time: tell me one about programmers"),
    (CHAT, "what would you do here: my friend forgot my birthday"),
    (CHAT, "make a recipe from: eggs, flour, leeks"),
    (CHAT, "rhyme with this word: orange"),
    (CHAT, "Hello there!\nHow are you doing today?"),
    (CHAT, "I am writing a letter: how should I begin it?"),
    (CHAT, "One more thing: thank you for the help yesterday"),
    (CHAT, "write a product description for: a red bicycle"),
    (CHAT, "calculate: 17 times 23"),
    (CHAT, "Why do people say “break a leg” before a play?"),
    (CHAT, "solve this riddle: what has keys but opens no doors"),
    (CHAT, "rewrite this to be more polite: send me the file now"),
    (CHAT, "plan a weekend in this city: Lisbon"),
    (CHAT, "who wrote this book: The Hound of the Baskervilles"),
    (CHAT, "correct my grammar: he go to school every days"),
    (CHAT, "act as my teacher: ask me about fractions"),
    (CHAT, "give me a title for this story: A boy finds a whale in the river"),
    (CHAT, "What do you know about “The Beatles”?"),
    (CHAT, "list five animals that begin with: the letter k"),
]


def main() -> None:
    with Engine() as engine:
        router = Router(engine)
        rows = []
        for wanted, message in MESSAGES:
            parts = split(message)
            route = router.nearest(parts.request) if parts else None
            if route is None:
                raise SystemExit(f"no request in {message!r}")
            task = engine.plugins.tasks[route.task]
            rows.append(
                (wanted, CHAT if "messages" in task.input_type.model_fields else route.task, route.score or 0.0)
            )
    for name, half in (("even (chosen on)", rows[::2]), ("odd (held out)", rows[1::2])):
        print(name)
        for step in range(30, 75, 5):
            _report(half, step / 100)
        _report(half, THRESHOLD)
    for (wanted, nearest, score), (_, message) in zip(rows, MESSAGES, strict=True):
        taken = nearest if score >= THRESHOLD else CHAT
        if taken != wanted:
            print(f"{score:.2f} {nearest or 'chat':14} instead of {wanted or 'chat':14} {message[:70]!r}")


def _report(rows: list[tuple[str, str, float]], threshold: float) -> None:
    taken = [nearest if score >= threshold else CHAT for _, nearest, score in rows]
    pairs = [(wanted, got) for (wanted, _, _), got in zip(rows, taken, strict=True) if wanted]
    plain = [got for (wanted, _, _), got in zip(rows, taken, strict=True) if not wanted]
    right = sum(wanted == got for wanted, got in pairs)
    wrong = sum(got not in (wanted, CHAT) for wanted, got in pairs)
    chat = sum(got == CHAT for got in plain)
    print(
        f"  {threshold:.2f}: tasks {right}/{len(pairs)} found, {wrong} as another task; chat {chat}/{len(plain)} kept"
    )


if __name__ == "__main__":
    main()
