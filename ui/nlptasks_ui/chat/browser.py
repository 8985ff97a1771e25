"""Conversations in the browser's storage: one entry each, so that two tabs do not overwrite each other's conversations.

Gradio's own BrowserState has a single value, which each tab reads once and writes whole. Here every event reads the
current entries, and writes only the one that it changes.
"""

from __future__ import annotations

import json

from nlptasks_ui import html

PREFIX = "nlptasks-chat/"

_FULL = "The browser's storage is full, so this conversation is not saved: download it, or delete another one."


def reading(count: int) -> str:
    """JavaScript for an event with `count` inputs: it replaces the last one with the list of stored conversations."""
    return f"""(...values) => {{
      const stored = [];
      for (const key of Object.keys(localStorage).filter((key) => key.startsWith({json.dumps(PREFIX)}))) {{
        try {{ stored.push(JSON.parse(localStorage.getItem(key))); }} catch {{ /* not ours */ }}
      }}
      return [...values.slice(0, {count - 1}), stored];
    }}"""


WRITE = f"""(change, alert) => {{
  if (!change) return alert;
  for (const id of change.removed) localStorage.removeItem({json.dumps(PREFIX)} + id);
  try {{
    if (change.saved) localStorage.setItem({json.dumps(PREFIX)} + change.saved.id, JSON.stringify(change.saved));
  }} catch {{
    return {json.dumps(html.alert(_FULL))};
  }}
  return alert;
}}"""
"""JavaScript that applies a change: `saved` is a packed conversation or null, `removed` lists ids. Its second argument
is the message to show; it returns that message, or the one for a full storage."""

DOWNLOAD = """(file) => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([file.text], { type: file.type }));
  link.download = file.name;
  link.click();
  URL.revokeObjectURL(link.href);
}"""

FOCUS = "() => document.querySelector('#chat-words textarea')?.focus()"
