"""The plan of a training, as a file that the training's process reads."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nlptasks import Settings

if TYPE_CHECKING:
    from nlptasks import Recipe, Task
    from nlptasks.training import DataOptions


@dataclass(frozen=True)
class Plan:
    """One training. `data` is the path of an uploaded file, `recipe` the settings that differ from the task's.

    `user` started it; "" in an app without logins.
    """

    task: str
    name: str
    data: str
    recipe: dict[str, Any] = field(default_factory=dict)
    text_column: str | None = None
    label_column: str | None = None
    labels: tuple[str, ...] | None = None
    held_out: float = 0.1
    allow_misaligned: bool = False
    replace: bool = False
    user: str = ""

    @property
    def options(self) -> DataOptions:
        """How the data is read."""
        from nlptasks.training import DataOptions

        return DataOptions(
            text_column=self.text_column,
            label_column=self.label_column,
            labels=self.labels,
            held_out=self.held_out,
            allow_misaligned=self.allow_misaligned,
        )

    def full_recipe(self, task: Task[Any, Any, Any]) -> Recipe:
        """The task's recipe with the changes; raises InvalidInputError that names every invalid value."""
        from nlptasks.training import override

        return override(task.recipe, self.recipe)

    def as_json(self) -> str:
        """The plan as JSON text for `from_json`."""
        return json.dumps(dataclasses.asdict(self), ensure_ascii=False, indent=2)

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """The plan that `as_json` wrote."""
        values = json.loads(text)
        labels = values.pop("labels")
        return cls(labels=tuple(labels) if labels else None, **values)


def environment(settings: Settings) -> dict[str, str]:
    """The environment variables that give another process these settings."""
    values = {
        "NLPTASKS_CACHE": str(settings.cache),
        "NLPTASKS_DATA": str(settings.data),
        "NLPTASKS_PROFILE": settings.profile,
    }
    if settings.offline:
        values["HF_HUB_OFFLINE"] = "1"
    if settings.load_plugins is not None:
        values["NLPTASKS_LOAD_PLUGINS"] = ",".join(sorted(settings.load_plugins))
    return values
