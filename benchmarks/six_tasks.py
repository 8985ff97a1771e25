"""Peak memory of one process that has run all six built-in tasks on their embedded models.

python benchmarks/six_tasks.py
"""

from __future__ import annotations

import resource
import sys
from dataclasses import replace
from pathlib import Path

from nlptasks import Engine
from nlptasks.settings import Settings

TEXT = (
    "The town library will close for repairs in March. Its roof has leaked since the storm of last autumn, and "
    "many old books were damaged. The council has found 400,000 euros for the work. Readers may use the school's "
    "library until the summer."
)
REQUESTS = {
    "sentiment": {"text": "I loved every minute of it."},
    "ner": {"text": "Ada Lovelace met Charles Babbage in London."},
    "qa": {"question": "Why will the library close?", "context": TEXT},
    "translation": {"text": "Where is the station?", "source_language": "en", "target_language": "fr"},
    "summarization": {"text": TEXT},
    "generation": {"prompt": "Write a sentence about the sea.", "max_new_tokens": 40},
}


def peak() -> float:
    """Largest resident size of this process so far, in megabytes."""
    status = Path("/proc/self/status")
    if status.is_file():
        # getrusage would begin with the size of the process that started this one.
        line = next(line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    # Linux counts kibibytes, macOS bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


def main() -> None:
    """Run each task once and print the peak after it."""
    with Engine(settings=replace(Settings.from_env(), profile="embedded")) as engine:
        for task, request in REQUESTS.items():
            result = engine.run(task, **request)
            print(f"{task:14} {peak():6.0f} MB   {result.model}")


if __name__ == "__main__":
    main()
