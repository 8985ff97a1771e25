"""What a server may be set to: flags, environment variables, a file, in this order of precedence."""

from __future__ import annotations

import difflib
import ipaddress
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from nlptasks import NlptasksError
from nlptasks.surfaces import invalid

PREFIX = "NLPTASKS_SERVE_"
API_KEY = "NLPTASKS_API_KEY"


class ServeSettings(BaseModel):
    """The settings of `nlptasks serve`, by the names of `serve.toml`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field(default="127.0.0.1", description="Address to listen on; any but loopback needs a key.")
    port: int = Field(default=8000, ge=0, le=65535, description="Port to listen on; 0 is a free one.")
    api_key: SecretStr | None = Field(default=None, description="Key that a request needs.")
    api_key_file: Path | None = Field(default=None, description="File with a NAME:KEY in each line.")
    allowed_hosts: tuple[str, ...] = Field(default=(), description="Values of Host, beside the address itself.")
    cors_origins: tuple[str, ...] = Field(
        default=(), description="Origins of web pages that may call; none by default."
    )
    ui: bool = Field(default=False, description="The web app at /ui; a browser's user name is any, the password a key.")
    models: tuple[str, ...] = Field(default=(), description="Bases that requests may name, beside the catalog's.")
    root: str | None = Field(default=None, description="Plugin whose routes are at / too, for clients without a path.")
    preload: tuple[str, ...] = Field(default=(), description="Tasks, or TASK@ADAPTER, to load before requests.")
    device: str = Field(default="auto", description="auto, cpu, cuda, cuda:N or mps.")
    dtype: str = Field(default="auto", description="auto, float32, bfloat16, float16 or int8.")
    idle_seconds: float | None = Field(default=None, gt=0, description="Time after which an unused base is unloaded.")
    max_resident_mb: int | None = Field(default=None, ge=1, description="Memory of all bases.")
    batches: Path | None = Field(default=None, description="Folder for /v1/files and /v1/batches; off without one.")
    batch_days: float = Field(default=30, gt=0, description="Days after which files and batches are deleted.")
    max_file_mb: float = Field(default=200, gt=0, description="Size of a file that is uploaded for a batch.")
    max_body_mb: float = Field(default=8, gt=0, description="Size of a request.")
    max_inputs: int = Field(default=1000, ge=1, description="Inputs of a request.")
    max_new_tokens: int = Field(default=4096, ge=1, description="Tokens that may be written for an input.")
    max_running: int = Field(default=64, ge=1, description="Requests that are computed at once.")
    max_waiting: int = Field(default=256, ge=0, description="Requests that wait; more are refused with 429.")
    requests_a_minute: int | None = Field(default=None, ge=1, description="Requests of a key, or of an address.")
    body_seconds: float = Field(default=30, gt=0, description="Time in which a request's body must be there.")
    drain_seconds: float = Field(default=30, ge=0, description="Time for requests under way when the server stops.")

    @property
    def keys(self) -> dict[str, str]:
        """Names by key.

        Raises:
            NlptasksError: the file cannot be read, or a line has another form.
        """
        keys = {self.api_key.get_secret_value().strip(): "default"} if self.api_key else {}
        if self.api_key_file:
            for number, line in enumerate(self.api_key_file.read_text(encoding="utf-8").splitlines(), start=1):
                if not line.strip() or line.startswith("#"):
                    continue
                name, colon, key = line.strip().partition(":")
                if not (name and colon and key):
                    # The line may be a key, so the message does not repeat it.
                    raise NlptasksError(f"{self.api_key_file}:{number}: expected NAME:KEY, found another form.")
                keys[key.strip()] = name
        if "" in keys:
            raise NlptasksError("Expected a key, found an empty one: see --api-key-file.")
        return keys

    def check(self) -> None:
        """Refuse a server that is open to a network without a key.

        Raises:
            NlptasksError: the host is not loopback and there is no key.
        """
        if not self.keys and not is_loopback(self.host):
            raise NlptasksError(
                f"--host {self.host} opens the server to the network: expected a key ({API_KEY}, --api-key-file FILE), "
                "found none. Without --host it is open to this machine only."
            )


def read_settings(
    flags: Mapping[str, Any], file: Path | None = None, env: Mapping[str, str] | None = None
) -> ServeSettings:
    """The settings from flags that are set, then `NLPTASKS_SERVE_*` and `NLPTASKS_API_KEY`, then a TOML file.

    Raises:
        NlptasksError: naming every value that does not fit and every unknown name.
    """
    env = os.environ if env is None else env
    values: dict[str, Any] = {}
    if file:
        try:
            values = tomllib.loads(file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise NlptasksError(f"{file}: expected a TOML file, found something else ({error}).") from None
    for name in values.keys() - ServeSettings.model_fields.keys():
        near = difflib.get_close_matches(name, ServeSettings.model_fields, n=1)
        hint = f"did you mean {near[0]!r}?" if near else "--print-config lists them."
        raise NlptasksError(f"{file}: expected settings of `nlptasks serve`, found {name!r}: {hint}")
    for name, field in ServeSettings.model_fields.items():
        text = env.get(f"{PREFIX}{name.upper()}") or (env.get(API_KEY) if name == "api_key" else None)
        if text:
            listed = str(field.annotation).startswith("tuple")
            values[name] = tuple(filter(None, map(str.strip, text.split(",")))) if listed else text
    values |= {name: value for name, value in flags.items() if value not in (None, ())}
    try:
        return ServeSettings.model_validate(values)
    except ValidationError as error:
        raise NlptasksError(f"The server's settings are not valid: {invalid(error)}") from None


def is_loopback(host: str) -> bool:
    """Whether an address is of this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
