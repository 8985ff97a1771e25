"""The app's theme (system fonts, two colours), and the style sheets and the script beside this file."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
STYLES = HERE / "style.css"
PHONE = HERE / "phone.css"
SCRIPT = HERE / "script.js"

FONTS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "Arial", "sans-serif")
MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "Liberation Mono", "monospace")


def build_theme() -> Any:
    """A Gradio theme in slate and teal, with small radii and no shadows. It downloads nothing."""
    import gradio as gr
    from gradio.themes import Font, colors, sizes

    base = gr.themes.Base(
        primary_hue=colors.teal,
        secondary_hue=colors.slate,
        neutral_hue=colors.slate,
        radius_size=sizes.radius_sm,
        text_size=sizes.text_md,
        font=[Font(name) for name in FONTS],
        font_mono=[Font(name) for name in MONO],
    )
    return base.set(
        body_background_fill="#f7f8f8",
        body_background_fill_dark="#14181b",
        body_text_color="#1d2629",
        body_text_color_dark="#e4e9ea",
        body_text_color_subdued="#55646a",
        body_text_color_subdued_dark="#9badb3",
        background_fill_primary="#ffffff",
        background_fill_primary_dark="#1b2125",
        background_fill_secondary="#f1f4f4",
        background_fill_secondary_dark="#20272b",
        block_background_fill="#ffffff",
        block_background_fill_dark="#1b2125",
        block_border_color="#dde4e5",
        block_border_color_dark="#2d373c",
        border_color_primary="#dde4e5",
        border_color_primary_dark="#2d373c",
        block_label_text_color="#55646a",
        block_label_text_color_dark="#9badb3",
        block_info_text_color="#5b6a70",
        block_info_text_color_dark="#9badb3",
        block_title_text_weight="600",
        block_title_text_color="#1d2629",
        block_title_text_color_dark="#e4e9ea",
        input_border_width="1px",
        block_shadow="none",
        input_background_fill="#fbfcfc",
        input_background_fill_dark="#161b1e",
        input_border_color="#c9d3d5",
        input_border_color_dark="#3a464c",
        input_border_color_focus="#0f766e",
        input_border_color_focus_dark="#2dd4bf",
        button_primary_background_fill="#0f766e",
        button_primary_background_fill_hover="#115e59",
        button_primary_background_fill_dark="#0f766e",
        button_primary_background_fill_hover_dark="#14857b",
        button_primary_text_color="#ffffff",
        button_primary_text_color_dark="#ffffff",
        button_secondary_background_fill="#e9eeee",
        button_secondary_background_fill_hover="#dde5e5",
        button_secondary_background_fill_dark="#2a3338",
        button_secondary_background_fill_hover_dark="#364147",
        button_secondary_text_color="#1d2629",
        button_secondary_text_color_dark="#e4e9ea",
        button_cancel_background_fill="#e9eeee",
        button_cancel_background_fill_hover="#f3d9d6",
        button_cancel_background_fill_dark="#2a3338",
        button_cancel_background_fill_hover_dark="#4a2b2a",
        button_cancel_text_color="#8f2318",
        button_cancel_text_color_dark="#f3a79f",
        link_text_color="#0f766e",
        link_text_color_dark="#5fd0c4",
        shadow_drop="none",
        shadow_drop_lg="none",
    )


def head() -> str:
    """HTML for the head of every page."""
    return f"<style>{PHONE.read_text(encoding='utf-8')}</style><script>{script()}</script>"


@cache
def script() -> str:
    """The script of every page."""
    return SCRIPT.read_text(encoding="utf-8")
