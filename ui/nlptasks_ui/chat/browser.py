"""Conversations in the browser's storage: an entry for each, so that two tabs do not write over what the other kept.

Gradio's own BrowserState has one value for all, which each tab reads once and writes whole. Here every event reads what
is there at that moment, and writes only what it changes.
"""

from __future__ import annotations

import json

PREFIX = "nlptasks-chat/"

_FULL = "The browser has no room for this conversation: delete another one, or save it as a file."


def reading(count: int) -> str:
    """JavaScript of an event with `count` inputs: its last one becomes the list of what the browser keeps now."""
    return f"""(...values) => {{
      const kept = [];
      for (const key of Object.keys(localStorage).filter((key) => key.startsWith({json.dumps(PREFIX)}))) {{
        try {{ kept.push(JSON.parse(localStorage.getItem(key))); }} catch {{ /* not ours */ }}
      }}
      return [...values.slice(0, {count - 1}), kept];
    }}"""


WRITE = f"""(change, alert) => {{
  if (!change) return alert;
  for (const id of change.dropped) localStorage.removeItem({json.dumps(PREFIX)} + id);
  try {{
    if (change.kept) localStorage.setItem({json.dumps(PREFIX)} + change.kept.id, JSON.stringify(change.kept));
  }} catch {{
    return '<div class="nlp-alert" role="alert">{_FULL}</div>';
  }}
  return alert;
}}"""
"""JavaScript that makes a change: `kept` is a packed conversation or null, `dropped` names others. Its second argument
and its value are what the page says of it."""
