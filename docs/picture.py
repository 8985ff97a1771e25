"""Makes docs/demo.svg from what `nlptasks demo` really prints: python docs/picture.py"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text


def main() -> None:
    """Run the demo and save its output as a picture."""
    command = [sys.executable, "-m", "nlptasks", "demo"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    console = Console(record=True, width=112, file=sys.stderr)
    console.print(Text("$ nlptasks demo", style="bold"))
    for line in printed.rstrip().splitlines():
        console.print(Text(line, style="" if line.startswith(" ") else "bold cyan"))
    console.save_svg(str(Path(__file__).parent / "demo.svg"), title="nlptasks demo")


if __name__ == "__main__":
    main()
