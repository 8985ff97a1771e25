"""The content security policy of every response: the browser runs our scripts only and asks no other machine."""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from typing import Any

from nlptasks_ui import theme

POLICY = (
    "default-src 'self'",
    # Gradio compiles its templates and the scripts of events in the browser.
    "script-src 'self' 'unsafe-eval' {scripts}",
    "style-src 'self' 'unsafe-inline'",
    "img-src 'self' data: blob:",
    "font-src 'self' data:",
    "media-src 'self' data: blob:",
    "connect-src 'self'",
    "worker-src 'self' blob:",
    "object-src 'none'",
    "base-uri 'none'",
    "form-action 'self'",
    "frame-ancestors 'self'",
)

_INLINE = re.compile(r"<script(?:\s+data-[\w-]+)?>(.*?)</script>", re.DOTALL)
"""The scripts of Gradio's page. Texts in them are JSON in which `<` is escaped, so that none can begin a script."""


class ContentPolicy:
    """ASGI middleware that adds the policy, with the hash of each inline script of a page."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start: dict[str, Any] = {}
        body = bytearray()

        async def add(message: Any) -> None:
            if message["type"] == "http.response.start":
                if dict(message["headers"]).get(b"content-type", b"").startswith(b"text/html"):
                    start.update(message)
                    return
                message["headers"] = [*message["headers"], _header("")]
            elif start and message["type"] == "http.response.body":
                body.extend(message.get("body", b""))
                if message.get("more_body"):
                    return
                await send({**start, "headers": [*start["headers"], _header(body.decode("utf-8"))]})
                message = {"type": "http.response.body", "body": bytes(body)}
            await send(message)

        await self._app(scope, receive, add)


def _header(page: str) -> tuple[bytes, bytes]:
    scripts = [*_INLINE.findall(page), theme.script()] if page else []
    hashes = (b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    policy = "; ".join(POLICY).format(scripts=" ".join(f"'sha256-{digest}'" for digest in hashes))
    return b"content-security-policy", policy.encode()
