"""The wheel and the example plugin, really installed into a fresh environment and used from another folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.packaging

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "nlptasks-urgency"
LEFT_BEHIND = shutil.ignore_patterns(".*", "*.egg-info", "build", "dist", "__pycache__", "tests", "docs", "benchmarks")


class Environment:
    """A fresh virtual environment that borrows the packages of ours, except those whose names begin with `without`."""

    def __init__(self, folder: Path, without: tuple[str, ...] = ()) -> None:
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
            if not name.startswith(("nlptasks", "__editable__", *without)) and entry.suffix not in {
                ".pth",
                ".egg-link",
            }:
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
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository, so that a build leaves nothing in it."""
    copy = tmp_path_factory.mktemp("source") / "nlptasks"
    shutil.copytree(ROOT, copy, ignore=LEFT_BEHIND)
    # Needed to build; a checkout in the making may lack them.
    for name in ("README.md", "LICENSE"):
        (copy / name).touch()
    return copy


def build_wheel(source: Path, folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-q"]
    done = subprocess.run([*command, "-w", str(folder), str(source)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    [built] = folder.glob("nlptasks-*.whl")
    return built


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(source, tmp_path_factory.mktemp("wheel"))


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
    assert {"nlptasks/py.typed", "nlptasks_plugins/py.typed", "nlptasks_ui/py.typed"} <= set(names)
    assert {"nlptasks/__init__.pyi", "nlptasks_plugins/__init__.pyi"} <= set(names)
    packages = {path.relative_to(ROOT / "nlptasks").as_posix() for path in (ROOT / "nlptasks").rglob("*.py")}
    assert {f"nlptasks/{name}" for name in packages} <= set(names)
    assert not [name for name in names if "test" in name.split("/")[-1] and not name.startswith("nlptasks/testing")]


def test_the_wheel_ships_the_trained_adapters(wheel: Path) -> None:
    folder = ROOT / "plugins" / "nlptasks_plugins" / "adapters"
    files = {path.relative_to(folder.parents[1]).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert files <= set(zipfile.ZipFile(wheel).namelist())


@pytest.mark.full
def test_the_source_archive_builds_the_same_wheel(wheel: Path, source: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "--target", "sdist", "--directory", str(tmp_path)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    [archive] = tmp_path.glob("nlptasks-*.tar.gz")
    with tarfile.open(archive) as packed_files:
        top = {name.split("/")[1] for name in packed_files.getnames()}
    packed = {"nlptasks", "plugins", "ui", "pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "PKG-INFO"}
    assert {"nlptasks", "plugins", "ui"} <= top <= packed | {".gitignore"}
    rebuilt = build_wheel(archive, tmp_path / "wheel")
    assert zipfile.ZipFile(rebuilt).namelist() == zipfile.ZipFile(wheel).namelist()


PROGRAM = """
import nlptasks
from nlptasks import Engine
from nlptasks_plugins import Qa, Sentiment

reveal_type(nlptasks.run(Sentiment, "Lovely."))
with Engine() as engine:
    reveal_type(engine.run(Qa, ["Who?"], context="Ada."))
    engine.run(Sentiment, "Lovely.").lable
"""


@pytest.mark.full
def test_type_checkers_see_the_types_of_an_editable_install(source: Path, tmp_path: Path) -> None:
    # mypy reads all of torch, which is slow, and changes nothing here.
    editable = Environment(tmp_path / "venv", without=("torch", "transformers", "peft", "numpy", "gguf"))
    editable.install("--editable", str(source))
    program = tmp_path / "program.py"
    program.write_text(PROGRAM, encoding="utf-8")
    mypy = editable.python("-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), str(program)).stdout
    assert 'Revealed type is "nlptasks.results.Classification"' in mypy
    assert 'Revealed type is "nlptasks.results.Results[nlptasks.results.Answer]"' in mypy
    assert mypy.splitlines()[-1] == "Found 1 error in 1 file (checked 1 source file)", mypy
    python = str(editable.bin / "python")
    told = editable.python("-m", "pyright", "--outputjson", "--pythonpath", python, str(program)).stdout
    messages = [message["message"].split("\n")[0] for message in json.loads(told)["generalDiagnostics"]]
    assert messages == [
        'Type of "nlptasks.run(Sentiment, "Lovely.")" is "Classification"',
        'Type of "engine.run(Qa, ["Who?"], context="Ada.")" is "Results[Answer]"',
        'Cannot access attribute "lable" for class "Classification"',
    ]


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
