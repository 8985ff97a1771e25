"""Peak memory in megabytes of one process, after each of the six built-in tasks on its embedded model. Prints JSON.

python benchmarks/six_tasks.py
"""

from __future__ import annotations

import json
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
    peaks = {}
    with Engine(settings=replace(Settings.from_env(), profile="embedded")) as engine:
        for task, request in REQUESTS.items():
            engine.run(task, **request)
            peaks[task] = round(peak())
    print(json.dumps({"peak_mb": peaks}, indent=2))


if __name__ == "__main__":
    main()
