"""Every link of the documents to a file of the repository, or to a heading in one, leads somewhere."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parents[2]
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#{1,6} +(.+?) *$", re.MULTILINE)


def documents() -> list[str]:
    """The Markdown files that git knows; all of them in the folder where there is no git."""
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=False)
    found = listed.stdout.split("\n")[:-1] if listed.returncode == 0 else []
    return found or [str(path.relative_to(ROOT)) for path in ROOT.glob("[!.]*/**/*.md")]


def anchors(text: str) -> set[str]:
    """The names that GitHub gives to the headings of a document."""
    headings = _HEADING.findall(_FENCE.sub("", text))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def dead(document: Path) -> list[str]:
    """The links of a document that lead nowhere."""
    found = []
    for link in _LINK.findall(_FENCE.sub("", document.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", link):
            continue
        place, _, heading = unquote(link).partition("#")
        target = document.parent / place if place else document
        if not target.exists() or (heading and heading not in anchors(target.read_text(encoding="utf-8"))):
            found.append(link)
    return found


def test_a_dead_link_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# One `two`, three\n[a](#one-two-three) [b](#four) [c](gone.md) [d](https://x.org)\n", encoding="utf-8"
    )
    assert dead(page) == ["#four", "gone.md"]


@pytest.mark.parametrize("name", documents())
def test_no_link_is_dead(name: str) -> None:
    assert dead(ROOT / name) == []
