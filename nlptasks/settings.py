"""Folders and switches, read from the environment once and passed down."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast, get_args

from nlptasks.errors import NlptasksError

Profile = Literal["auto", "embedded", "hub"]

_TRUE = frozenset({"1", "true", "yes", "on"})


@dataclass(frozen=True)
class Settings:
    """Folders and switches of one process.

    `cache` holds base models and may be deleted at any time; `data` holds the user's adapters and training runs.
    `load_plugins` lists the entry points to load, None for all. `backend` is the only one to use, None for the first
    that serves a base.
    """

    cache: Path
    data: Path
    profile: Profile = "auto"
    load_plugins: frozenset[str] | None = None
    strict: bool = False
    offline: bool = False
    max_resident_bytes: int | None = None
    backend: str | None = None

    @property
    def bases(self) -> Path:
        return self.cache / "bases"

    @property
    def graphs(self) -> Path:
        """What engines made of bases and adapters to compute them quicker."""
        return self.cache / "graphs"

    @property
    def adapters(self) -> Path:
        return self.data / "adapters"

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Settings:
        """Read NLPTASKS_* and HF_HUB_OFFLINE.

        Raises:
            NlptasksError: a variable has an invalid value.
        """
        import platformdirs

        env = os.environ if env is None else env
        profile = env.get("NLPTASKS_PROFILE", "auto")
        if profile not in get_args(Profile):
            expected = ", ".join(get_args(Profile))
            raise NlptasksError(f"NLPTASKS_PROFILE: expected one of {expected}, found {profile!r}.")
        listed = env.get("NLPTASKS_LOAD_PLUGINS")
        return cls(
            cache=Path(env.get("NLPTASKS_CACHE") or platformdirs.user_cache_dir("nlptasks")),
            data=Path(env.get("NLPTASKS_DATA") or platformdirs.user_data_dir("nlptasks")),
            profile=cast(Profile, profile),
            load_plugins=None if listed is None else frozenset(filter(None, map(str.strip, listed.split(",")))),
            strict=_flag(env, "NLPTASKS_STRICT"),
            offline=_flag(env, "HF_HUB_OFFLINE") or _flag(env, "TRANSFORMERS_OFFLINE"),
            backend=env.get("NLPTASKS_BACKEND", "").strip() or None,
            max_resident_bytes=_megabytes(env, "NLPTASKS_MAX_RESIDENT_MB"),
        )


def _flag(env: Mapping[str, str], name: str) -> bool:
    return env.get(name, "").strip().lower() in _TRUE


def _megabytes(env: Mapping[str, str], name: str) -> int | None:
    value = env.get(name, "").strip()
    if not value:
        return None
    if not value.isdigit() or int(value) == 0:
        raise NlptasksError(f"{name}: expected a positive whole number of megabytes, found {value!r}.")
    return int(value) * 1024 * 1024
