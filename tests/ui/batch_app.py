"""The app over fake models in a process of its own, which tests kill: `python -m tests.ui.batch_app DATA PORT`."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from nlptasks_ui.app import build_app
from nlptasks_ui.serving import Address, launch
from tests.ui_browser import FakeEngine, installed_plugins, own_settings

if __name__ == "__main__":
    data, port = sys.argv[1:]
    engine = FakeEngine(own_settings(Path(data)), plugins=installed_plugins())
    engine.seconds = 0.002
    launch(build_app(engine), Address(port=int(port)))
    threading.Event().wait()
