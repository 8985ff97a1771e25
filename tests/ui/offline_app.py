"""The whole app on the real weights, asked by a browser in a network namespace of its own: it has loopback and no more.

Run by tests/ui/test_ui_offline.py as `unshare --net python -m tests.ui.offline_app`; prints what the pages showed and
whom the browser asked, as JSON.
"""

from __future__ import annotations

import fcntl
import json
import socket
import struct
from typing import TYPE_CHECKING, Any

from nlptasks import Engine
from nlptasks_ui.app import list_pages
from nlptasks_ui.context import Context
from tests.ui_browser import opened, served, tab, visit

if TYPE_CHECKING:
    from playwright.sync_api import Page

SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 0x1  # <linux/sockios.h>, <linux/if.h>
OUTSIDE = ("192.0.2.1", 443)
"""An address for documentation (RFC 5737): nobody has it."""

FORMS = {
    "sentiment": {"Text": "I loved every minute of it."},
    "ner": {"Text": "Ada Lovelace met Charles Babbage in London."},
    "qa": {"Question": "Who was the keeper?", "Context": "The lighthouse is old. Ada Holm was its keeper."},
    "summarization": {"Text": "The library closes in March. Its roof has leaked since the storm. Books were damaged."},
    "translation": {"Text": "Where is the station?", "Target language": "fr", "Source language": "en"},
    "generation": {"Prompt": "Once upon a time"},
}


def raise_loopback() -> None:
    """What `ip link set lo up` does: a new namespace has its loopback down."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        request = struct.pack("16sh22x", b"lo", 0)
        _, flags = struct.unpack("16sh22x", fcntl.ioctl(handle, SIOCGIFFLAGS, request))
        fcntl.ioctl(handle, SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", flags | IFF_UP))


def why_cut() -> str:
    """What the system says to a connection to the world; empty if it is open."""
    try:
        socket.create_connection(OUTSIDE, timeout=2).close()
    except OSError as error:
        return str(error)
    return ""


def answer(page: Page, url: str, task: str) -> Any:
    """Fill a form, run it, and read back what the page has as JSON; what went wrong instead, if something did."""
    visit(page, f"{url}/{task}")
    for label, value in FORMS[task].items():
        field = page.get_by_label(label, exact=False).first
        field.fill(value)
        if field.get_attribute("role") == "combobox":
            field.press("Enter")
    page.get_by_role("button", name="Options").click()
    page.get_by_role("combobox", name="Adapter").wait_for()
    limit = page.get_by_label("Max new tokens")
    if task in ("generation", "summarization") and limit.count():
        limit.fill("12")
    page.click(f"#run-{task}")
    page.locator(f"#view-{task} :is(.nlp-result:not(:has(.nlp-caret)), .nlp-alert)").wait_for(timeout=120_000)
    alert = page.locator(f"#view-{task} .nlp-alert")
    if alert.count():
        return alert.inner_text()
    # The editor draws the lines that are in view only; its document has all of them.
    document = f"""(() => {{
        const node = document.querySelector('#json-{task} .cm-content');
        const view = (node.cmView ?? node.cmTile)?.view;
        return view ? view.state.doc.toString() : node.innerText;
    }})()"""
    page.wait_for_function(f"{document}.trim().endsWith('}}')")
    return json.loads(page.evaluate(document))


def main() -> None:
    raise_loopback()
    told: dict[str, Any] = {"cut": why_cut(), "asked": [], "answers": {}, "pages": []}
    with Engine() as engine, served(engine) as url, opened() as browser, tab(browser) as page:
        page.context.on("request", lambda request: told["asked"].append(request.url))
        page.on("websocket", lambda websocket: told["asked"].append(websocket.url))
        for one in list_pages(Context(engine, engine.settings.data)):
            if one.path in FORMS:
                told["answers"][one.path] = answer(page, url, one.path)
            else:
                visit(page, f"{url}/{one.path}")
                page.wait_for_timeout(200)
            told["pages"].append(page.locator("h1").first.inner_text())
    print(json.dumps(told))


if __name__ == "__main__":
    main()
