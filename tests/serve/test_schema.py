"""What others make of the schema: a client, and thousands of requests."""

from __future__ import annotations

import subprocess
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serving import served
from tests.ui_browser import FakeEngine, built_in_makers, installed_plugins, own_settings

pytestmark = [pytest.mark.full, pytest.mark.packaging]


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a fresh environment with both tools, whose requirements are not ours."""
    folder = tmp_path_factory.mktemp("tools")
    venv.create(folder, with_pip=True)
    subprocess.run(
        [folder / "bin" / "pip", "install", "--quiet", "schemathesis>=4", "openapi-python-client>=0.25"], check=True
    )
    return folder / "bin"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("serve")
    with (
        FakeEngine(own_settings(folder), built_in_makers(), installed_plugins()) as engine,
        served(engine, max_body_mb=0.1, max_inputs=50) as address,
    ):
        yield address


def test_a_client_is_generated_and_answers(tools: Path, url: str, tmp_path: Path) -> None:
    command = ["openapi-python-client", "generate", "--url", f"{url}/openapi.json", "--output-path", tmp_path / "made",
               "--meta", "none", "--fail-on-warning"]  # fmt: skip
    made = subprocess.run(
        [tools / command[0], *command[1:]], capture_output=True, text=True, check=False,
        env={"PATH": f"{tools}:/usr/bin:/bin"},
    )  # fmt: skip
    assert made.returncode == 0, made.stdout
    script = f"""
from made import Client
from made.api.decisions import decide
from made.api.tasks import run_sentiment
from made.models import Classification, ErrorBody, SentimentTaskRequest

client = Client(base_url="{url}")
one = run_sentiment.sync(client=client, body=SentimentTaskRequest(text="I love it."))
assert isinstance(one, Classification) and one.label in ("positive", "negative"), one
many = run_sentiment.sync(client=client, body=SentimentTaskRequest(inputs=["I love it.", "Bad."]))
assert [type(each) for each in many] == [Classification, Classification], many
wrong = run_sentiment.sync(client=client, body=SentimentTaskRequest(text=""))
assert isinstance(wrong, ErrorBody) and wrong.error.message, wrong
"""
    ran = subprocess.run([tools / "python", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def test_schemathesis_finds_no_fault(tools: Path, url: str, tmp_path: Path) -> None:
    checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
    ran = subprocess.run(
        [tools / "schemathesis", "run", f"{url}/openapi.json", "--checks", checks, "--max-examples", "100"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout[-5000:]
