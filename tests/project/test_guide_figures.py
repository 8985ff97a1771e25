"""The figures of docs/guide.md are those of the code."""

from __future__ import annotations

from pathlib import Path

import pytest

from nlptasks import AnswerOptions, TaggingOptions, bases
from nlptasks.data import files, workbooks
from nlptasks.families import summarization
from nlptasks.families.summaries import bullets
from nlptasks.remote.address import RemoteSettings
from nlptasks.remote.openai import DEFAULT_WINDOW
from nlptasks.remote.tasks import ROWS
from nlptasks.runtime.compiled import graph
from nlptasks.training.publishing import observing

GUIDE = " ".join((Path(__file__).parents[2] / "docs" / "guide.md").read_text(encoding="utf-8").split())


@pytest.mark.parametrize(
    "figure",
    [
        f"by `stride` tokens ({TaggingOptions().stride} and {AnswerOptions().stride} by default)",
        f"(about {', '.join(map(str, summarization.WORDS.values()))} words)",
        f"one or two sentences (at most {summarization.FEW_TOKENS} tokens)",
        f"a seq2seq model and {summarization.CAUSAL_CHUNK} tokens for a causal one",
        f"a sentence of more than {bullets.LONGEST} words",
        f"`.json` (at most {files.LIMIT // 10**6} million characters)",
        f"`.xlsx` (at most {workbooks.LIMIT // 10**9} GB unpacked)",
        f"each group of up to {graph.GROUPS[0]} values",
        f"else {DEFAULT_WINDOW:,} tokens",
        f"to `/v1/tasks/TASK`, {ROWS} inputs a request",
        f"requests at once on each server ({RemoteSettings().parallel}); seconds to wait for an answer's next byte "
        f"({RemoteSettings().read:g})",
        f"({observing.ROWS} rows, some seconds)",
        f"if the Hub answers within {['two'][int(bases.PATIENCE) - 2]} seconds",
    ],
)
def test_a_figure(figure: str) -> None:
    assert figure in GUIDE
