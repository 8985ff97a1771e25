"""Many users of the web app at once: errors, mixed-up answers, and how long each task takes.

    python benchmarks/ui_users.py [--users 20] [--rounds 2] [--only sentiment,qa] [--limit 300] [--json FILE]

Starts `nlptasks ui` on a free port (or asks the one at --url). First one user asks each task once, which loads the
bases. Then every user, with a client of its own, asks all tasks in turn, `--rounds` times. A text is its user's own: a
name that no other user has, or a length. An answer is mixed up if it holds another user's name, if its spans are no
part of its user's text, or if it is not of its user's text in length and label. What is not answered within --limit
seconds is an error. Needs `pip install 'nlptasks[ui]'` and a filled cache.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

TASKS = ("sentiment", "ner", "qa", "translation", "generation")
NAMES = (
    "Alice", "Bruno", "Clara", "David", "Emma", "Felix", "Greta", "Henry", "Irene", "Jacob", "Karen", "Louis", "Maria",
    "Nadia", "Oscar", "Paula", "Peter", "Rosa", "Simon", "Tanya", "Ulrich", "Victor", "Wanda", "Xavier", "Yvonne",
)  # fmt: skip

Asked = Mapping[str, Any]


@dataclass(frozen=True)
class Reply:
    """One answer: `marked` where it carries what only its user's text has, `mixed` where it carries another's."""

    user: int
    task: str
    seconds: float
    error: str = ""
    marked: bool = False
    mixed: bool = False


def question(user: int, task: str) -> Asked:
    """What a user asks a task. What stands there eight times a language model goes on with."""
    name = NAMES[user]
    return {
        "sentiment": {"text": f"I {'hated' if user % 2 else 'loved'} it{', really' * user}."},
        "ner": {"text": f"{name} met the mayor of London, and {name} stayed there for {user + 2} days."},
        "qa": {
            "question": "Who keeps the lighthouse?",
            "context": f"The lighthouse is old. {'It is white. ' * user}{name} keeps the lighthouse since 1971.",
        },
        "translation": {
            "text": f"{name} is waiting at the station.", "source_language": "en", "target_language": "fr"
        },
        "generation": {"prompt": ", ".join([name] * 8) + ",", "max_new_tokens": 16},
    }[task]  # fmt: skip


def judge(user: int, task: str, answer: Mapping[str, Any], alone: Mapping[int, Mapping[str, Any]]) -> tuple[bool, bool]:
    """Whether an answer carries its user's mark, and whether it is mixed up with another's.

    `alone` has the answers about sentiment that each user gets when nobody else asks.
    """
    if task == "sentiment":
        right = all(answer[field] == alone[user][field] for field in ("label", "num_tokens"))
        return right, not right
    fields = question(user, task)
    text = json.dumps({**answer, "prompt": None, "segments": None}, ensure_ascii=False)
    foreign = any(name in text for name in NAMES if name != NAMES[user])
    spans = {"ner": answer.get("entities", ()), "qa": [answer]}.get(task, ())
    source = fields.get("context") or fields.get("text", "")
    strange = any(span["text"] != source[span["start"] : span["end"]] for span in spans)
    # What is written is not exact; these tasks also say what they have read.
    read = {
        "translation": lambda: "".join(part["source"] for part in answer["segments"]) == fields["text"],
        "generation": lambda: fields["prompt"] in json.dumps([answer["prompt"], answer["messages"]]),
    }.get(task, lambda: True)()
    return NAMES[user] in text, foreign or strange or not read


def crowd(url: str, users: int, rounds: int = 1, tasks: Sequence[str] = TASKS, limit: float = 300) -> list[Reply]:
    """Ask as many users at once; every question has its reply, at the latest after `limit` seconds."""
    from gradio_client import Client

    clients = [Client(url, verbose=False, analytics_enabled=False) for _ in range(users)]
    end = time.monotonic() + limit
    alone = {
        user: clients[user].submit(**question(user, "sentiment"), api_name="/sentiment").result(timeout=limit)
        for user in range(users)
        if "sentiment" in tasks
    }
    start = threading.Barrier(users)

    def ask(user: int) -> list[Reply]:
        rotation = [*tasks[user % len(tasks) :], *tasks[: user % len(tasks)]]
        start.wait()
        return [reply(clients[user], user, task, alone, end) for _ in range(rounds) for task in rotation]

    with ThreadPoolExecutor(users) as pool:
        return [one for replies in pool.map(ask, range(users)) for one in replies]


def reply(client: Any, user: int, task: str, alone: Mapping[int, Mapping[str, Any]], end: float) -> Reply:
    """Ask one question and judge its answer."""
    started = time.monotonic()
    try:
        job = client.submit(**question(user, task), api_name=f"/{task}")
        answer = job.result(timeout=max(0.0, end - started))
        marked, mixed = judge(user, task, answer, alone)
    except Exception as error:
        return Reply(user, task, time.monotonic() - started, error=f"{type(error).__name__}: {error}")
    return Reply(user, task, time.monotonic() - started, marked=marked, mixed=mixed)


def percentile(values: Sequence[float], share: float) -> float:
    """By the nearest rank: a value that was measured; not a number where there is none."""
    return sorted(values)[math.ceil(share * len(values)) - 1] if values else math.nan


def table(replies: Sequence[Reply]) -> str:
    """A row for each task, and one for all."""
    rows = ["| task | asked | errors | mixed up | with its own mark | p50, s | p95, s |", "|---" * 7 + "|"]
    for task in [*dict.fromkeys(reply.task for reply in replies), "all"]:
        group = [reply for reply in replies if task in ("all", reply.task)]
        times = [reply.seconds for reply in group if not reply.error]
        errors, mixed, marked = (
            sum(bool(getattr(one, what)) for one in group) for what in ("error", "mixed", "marked")
        )
        p50, p95 = (percentile(times, share) for share in (0.5, 0.95))
        rows.append(f"| {task} | {len(group)} | {errors} | {mixed} | {marked} | {p50:.2f} | {p95:.2f} |")
    return "\n".join(rows)


@contextmanager
def running(seconds: float = 120) -> Iterator[str]:
    """The address of an app in a process of its own."""
    import httpx

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "nlptasks", "ui", "--port", str(port)]
    env = {**os.environ, "NLPTASKS_PROFILE": "embedded"}
    app = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url, end = f"http://127.0.0.1:{port}", time.monotonic() + seconds
    try:
        while True:
            try:
                httpx.get(url, trust_env=False).raise_for_status()
                break
            except httpx.HTTPError:
                if app.poll() is not None or time.monotonic() > end:
                    raise SystemExit("Expected the app to answer, found that it does not: try `nlptasks ui`.") from None
                time.sleep(0.1)
        yield url
    finally:
        app.send_signal(signal.SIGINT)
        try:
            app.wait(30)
        except subprocess.TimeoutExpired:
            app.kill()


def main() -> None:
    """Read the arguments, ask, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--users", type=int, default=20, choices=range(1, len(NAMES) + 1), metavar=f"1-{len(NAMES)}")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--only", default=",".join(TASKS), help="tasks, with commas between them")
    parser.add_argument("--limit", type=float, default=300, help="seconds for all questions of all users")
    parser.add_argument("--json", type=Path, help="file for every reply")
    parser.add_argument("--url", help="an app that runs already")
    arguments = parser.parse_args()
    tasks = [task for task in TASKS if task in arguments.only.split(",")]
    if arguments.url:
        report(arguments, arguments.url, tasks)
    else:
        with running() as url:
            report(arguments, url, tasks)


def report(arguments: Any, url: str, tasks: Sequence[str]) -> None:
    """Load the bases by one user, then measure all."""
    first = crowd(url, 1, tasks=tasks, limit=arguments.limit)
    started = time.monotonic()
    replies = crowd(url, arguments.users, arguments.rounds, tasks, arguments.limit)
    seconds = time.monotonic() - started
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    print(f"{platform.machine()}, {os.cpu_count()} cores{load}; {len(replies)} answers in {seconds:.0f} s\n")
    print(f"One user, bases loaded on the way:\n\n{table(first)}\n\nAll users at once:\n\n{table(replies)}")
    for error in sorted({reply.error for reply in replies if reply.error}):
        print(error)
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(reply) for reply in replies], indent=1), encoding="utf-8")
    if any(reply.error or reply.mixed for reply in replies):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
