"""HTML and Markdown: what is translated, and the structure that stays."""

from __future__ import annotations

from typing import Any

import pytest

from nlptasks_plugins.translation import markup
from tests.families.test_translation_spans import Translator, translate

HTML = (
    "<!DOCTYPE html><div class='a'>\n<p>A line\n\thas <b>no <i>verb</i></b> &amp; &lt;end&gt;. Then go!</p>"
    "<pre>Keep me.</pre><script>var a = 'b';</script><ul><li>One dog<li>Two <br>cats</ul>"
    "<p translate=no>No <p>no</p> no</p><!-- said --> Caf&eacute; <a href='#'>now</a></div>"
)
MARKDOWN = """# Title *here*

A line with `code` and a
soft [link](http://example.org "t") break.\x20\x20
Hard break.

> one quotation
> goes on

- [ ] an item
  goes on

```py
x = "keep"
```

| Name | Age |
|---|---|
| Ana | old |

    keep this

<div>some html</div>

End **bold** ![image](a.png).
"""


def pieces(text: str, format: markup.Format) -> list[str]:
    return [text[start:end] for start, end in markup.places(text, format)]


def test_the_sentences_of_html() -> None:
    assert pieces(HTML, "html") == [
        "A line\n\thas <b>no <i>verb</i></b> &amp; &lt;end&gt;.", "Then go!", "One dog", "Two", "cats",
        "<!-- said --> Caf&eacute; <a href='#'>now</a>",
    ]  # fmt: skip


def test_the_sentences_of_markdown() -> None:
    assert pieces(MARKDOWN, "markdown") == [
        "Title *here*", 'A line with `code` and a\nsoft [link](http://example.org "t") break.', "Hard break.",
        "one quotation", "goes on", "an item\n  goes on", "Name", "Age", "Ana", "old", "some html",
        "End **bold** ![image](a.png).",
    ]  # fmt: skip


@pytest.mark.parametrize("model", [Translator(str.upper), Translator(lambda words: words.replace("X", "").upper())])
def test_the_structure_stays_whatever_the_model_does(model: Any) -> None:
    result = translate(HTML, model, format="html")
    for kept in ("<!DOCTYPE html><div class='a'>\n<p>", "<pre>Keep me.</pre><script>var a = 'b';</script>", "<br>",
                 "<p translate=no>No <p>no</p> no</p><!-- said -->", "<b>NO <i>VERB</i></b> &amp; &lt;end&gt;.",
                 "<a href='#'>NOW</a></div>", "<li>"):  # fmt: skip
        assert kept in result.translation
    result = translate(MARKDOWN, model, format="markdown")
    assert 'x = "keep"\n```\n\n' in result.translation
    assert '`code` AND A SOFT [LINK](http://example.org "t") BREAK.  \n' in result.translation
    assert "END **BOLD** ![image](a.png).\n" in result.translation
    assert "|---|---|" in result.translation
    for segment in result.segments:
        assert MARKDOWN[segment.start : segment.end] == segment.source
        assert result.translation[segment.target_start : segment.target_end] == segment.text


def test_a_tag_in_plain_text_and_an_entity_are_kept() -> None:
    result = translate("Tom &amp; Ana are <em>good</em> friends.", Translator(str.upper))
    assert result.translation == "TOM &amp; ANA ARE <em>GOOD</em> FRIENDS."


@pytest.mark.parametrize(
    "text", ["", "<", "<p", "</p>", "<p>a", "<pre>a", "a &", "<!--", "<script>", "\ue000 <b>x</b>"]
)
def test_broken_html_comes_back(text: str) -> None:
    result = translate(f"Hi {text}", Translator(lambda words: words), format="html")
    assert result.translation.replace("&amp;", "&").replace("&lt;", "<") == f"Hi {text}"
