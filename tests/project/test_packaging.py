"""The wheel and the example plugin, really installed into a fresh environment and used from another folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.packaging

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "nlptasks-urgency"
LEFT_BEHIND = shutil.ignore_patterns(".*", "*.egg-info", "build", "dist", "__pycache__", "tests", "docs", "benchmarks")


class Environment:
    """A fresh virtual environment that borrows the heavy packages of ours."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder, with_pip=False, symlinks=True)
        self.folder = folder
        self.bin = folder / ("Scripts" if os.name == "nt" else "bin")
        self.site = Path(
            sysconfig.get_path("purelib", "venv", vars={"base": str(folder), "installed_base": str(folder)})
        )
        # Through links, not a .pth file: that one would bring our own editable install along.
        borrowed = Path(sysconfig.get_path("purelib"))
        for entry in borrowed.iterdir():
            name = entry.name.lower()
            if not name.startswith(("nlptasks", "__editable__")) and entry.suffix not in {".pth", ".egg-link"}:
                target = self.site / entry.name
                if not target.exists():
                    target.symlink_to(entry)

    def python(self, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        variables = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "NLPTASKS_"))}
        return subprocess.run(
            [str(self.bin / "python"), *arguments],
            capture_output=True,
            text=True,
            encoding="utf-8",
            env=variables,
            cwd=cwd or self.folder,
            check=False,
            timeout=600,
        )

    def install(self, *arguments: str) -> None:
        offline = ("--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "--quiet")
        done = self.python("-m", "pip", "install", *offline, *arguments)
        assert done.returncode == 0, done.stderr

    def nlptasks(self, *arguments: str) -> str:
        command = self.bin / "nlptasks"
        done = self.python(str(command), *arguments)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our wheel, built from a copy so that the build leaves nothing in the repository."""
    copy = tmp_path_factory.mktemp("source") / "nlptasks"
    shutil.copytree(ROOT, copy, ignore=LEFT_BEHIND)
    # Needed to build; a checkout in the making may lack them.
    for name in ("README.md", "LICENSE"):
        (copy / name).touch()
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-q"]
    done = subprocess.run([*command, "-w", str(out), str(copy)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    [built] = out.glob("nlptasks-*.whl")
    return built


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    made = Environment(tmp_path_factory.mktemp("venv"))
    made.install(str(wheel))
    copy = tmp_path_factory.mktemp("example") / "nlptasks-urgency"
    shutil.copytree(EXAMPLE, copy, ignore=shutil.ignore_patterns("*.egg-info", "build", "__pycache__"))
    made.install(str(copy))
    return made


def test_the_wheel_holds_our_packages_and_nothing_generic(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    top = {name.split("/")[0] for name in names}
    assert {name for name in top if not name.startswith("nlptasks")} == set()
    assert {"nlptasks/py.typed", "nlptasks_plugins/py.typed"} <= set(names)
    packages = {path.relative_to(ROOT / "nlptasks").as_posix() for path in (ROOT / "nlptasks").rglob("*.py")}
    assert {f"nlptasks/{name}" for name in packages} <= set(names)
    assert not [name for name in names if "test" in name.split("/")[-1] and not name.startswith("nlptasks/testing")]


def test_the_wheel_ships_the_trained_adapters(wheel: Path) -> None:
    folder = ROOT / "plugins" / "nlptasks_plugins" / "adapters"
    files = {path.relative_to(folder.parents[1]).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert files <= set(zipfile.ZipFile(wheel).namelist())


def test_the_example_stands_beside_the_built_ins(environment: Environment) -> None:
    tasks = {task["name"]: task for task in json.loads(environment.nlptasks("tasks", "--json"))}
    assert tasks["urgency"]["distribution"] == "nlptasks-urgency"
    assert tasks["urgency"]["summary"] == "How urgent a support ticket is."
    assert {task["distribution"] for task in tasks.values()} == {"nlptasks", "nlptasks-urgency"}
    shown = json.loads(environment.nlptasks("plugins", "--json"))
    assert shown["failures"] == []
    assert sum(record["name"] == "urgency" for record in shown["plugins"]) == 1


def test_everything_is_imported_from_the_installed_wheel(environment: Environment) -> None:
    modules = ("nlptasks", "nlptasks_plugins", "nlptasks_urgency")
    code = f"import importlib; print(*[importlib.import_module(name).__file__ for name in {modules}])"
    files = environment.python("-c", code, cwd=Path("/")).stdout.split()
    assert len(files) == 3
    assert all(Path(file).is_relative_to(environment.site) for file in files)


def test_listing_tasks_imports_nothing_heavy(environment: Environment) -> None:
    heavy = ["torch", "transformers", "peft", "gradio"]
    code = f"import sys, nlptasks; print('urgency' in nlptasks.tasks(), *(sys.modules.keys() & {heavy}))"
    done = environment.python("-c", code, cwd=Path("/"))
    assert (done.stdout.strip(), done.stderr) == ("True", "")


def test_nothing_generic_can_be_imported(environment: Environment) -> None:
    code = (
        "import importlib.util as u; print([n for n in ('plugins', 'ui', 'tests', 'cli', 'runtime') if u.find_spec(n)])"
    )
    assert environment.python("-c", code, cwd=Path("/")).stdout.strip() == "[]"


def test_the_examples_own_tests_pass(environment: Environment, tmp_path: Path) -> None:
    copy = shutil.copytree(EXAMPLE, tmp_path / "example", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    done = environment.python("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests", cwd=copy)
    assert done.returncode == 0, done.stdout + done.stderr


def test_uninstalling_the_plugin_takes_its_task_away(environment: Environment) -> None:
    done = environment.python("-m", "pip", "uninstall", "-y", "-q", "--disable-pip-version-check", "nlptasks-urgency")
    assert done.returncode == 0, done.stderr
    assert "urgency" not in [task["name"] for task in json.loads(environment.nlptasks("tasks", "--json"))]
