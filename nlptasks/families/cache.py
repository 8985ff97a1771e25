"""Values that are used again, of which the last ones are kept."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any


class Cache:
    """The values that were used last, by their keys; safe to use from many threads."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._values: OrderedDict[Any, Any] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Any) -> Any:
        """The value of a key, None if there is none."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
            return self._values.get(key)

    def add(self, key: Any, value: Any) -> Any:
        """The key's value: the first that was added, so that all who ask at once get the same."""
        with self._lock:
            value = self._values.setdefault(key, value)
            while len(self._values) > self._size:
                self._values.popitem(last=False)
            return value
