"""Building the app part by part, so that one that fails takes no other with it."""

from __future__ import annotations

import logging
from collections.abc import Callable

_log = logging.getLogger(__name__)


def build_part(what: str, build: Callable[[], object]) -> Exception | None:
    """Build a part of the current Blocks; one that fails, as with a plugin's types, leaves nothing of it behind.

    Returns the error, which is logged with `what`, a noun for the part.
    """
    import gradio as gr
    from gradio.context import Context as Building

    config = Building.root_block.default_config
    parts = [(entries, set(entries)) for entries in (config.blocks, config.fns)]
    try:
        with gr.Column() as area:
            build()
    except Exception as error:
        _log.exception("%s cannot be built", what)
        area.parent.children.remove(area)
        for entries, before in parts:
            for id in set(entries) - before:
                del entries[id]
        return error
    return None
