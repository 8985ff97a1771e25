"""Laws of the source itself: layers, no privilege for built-ins, and a start without heavy imports."""

from __future__ import annotations

import ast
import resource
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import nlptasks

ROOT = Path(__file__).parents[2]
CORE = ROOT / "nlptasks"
BUILT_IN = ROOT / "plugins" / "nlptasks_plugins"
HEAVY = frozenset({"torch", "transformers", "peft"})
MAY_BE_HEAVY = ("runtime", "training", "testing")

NAMES_ALLOWED = {("data/columns.py", "sentiment")}
"""The usual name of a column in public data sets."""

BELOW = {
    "errors.py": set(),
    "results.py": {"errors"},
    "settings.py": {"errors"},
    "model.py": {"errors", "results"},
    "task.py": {"errors", "results", "model"},
    "requests.py": {"data", "errors", "task"},
    "hookspecs.py": {"results", "task"},
    "families": {"errors", "families", "results", "task", "model"},
    "discovery.py": set(),
    "plugins.py": {"discovery", "errors", "hookspecs", "results", "settings", "task"},
    "store": {"errors", "results", "runtime", "settings", "store", "model"},
    "data": {"data", "errors", "families", "results", "task"},
    "runtime": {"errors", "results", "runtime", "settings", "store", "model"},
    "testing": {"errors", "model", "results", "task", "testing"},
}
"""What each layer may import of the core; surfaces and training stand above all of these."""


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def core_files() -> list[Path]:
    return sorted(CORE.rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports anywhere, `from nlptasks import x` as nlptasks.x."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            module = node.module or ""
            yield from (f"nlptasks.{alias.name}" for alias in node.names) if module == "nlptasks" else (module,)


def texts(path: Path) -> Iterator[str]:
    """String constants that the program can see: docstrings left out."""
    nodes = list(ast.walk(tree(path)))
    spoken = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in spoken:
            yield node.value


def built_in_names() -> set[str]:
    """Names of this project's plugins, and names and aliases of their tasks."""
    plugins = nlptasks.Plugins()
    plugins.load_entry_points()
    names: set[str] = set()
    for record in plugins.records:
        if record.distribution == "nlptasks":
            names |= {record.name, *record.tasks}
            names.update(*(plugins.tasks[task].aliases for task in record.tasks))
    return names


def inside(path: Path) -> str:
    return path.relative_to(CORE).as_posix()


def test_the_core_never_names_a_plugin() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    modules = {value.split(":")[0].split(".")[0] for value in project["entry-points"]["nlptasks"].values()}
    names = built_in_names()
    assert modules
    assert names
    found = []
    for path in core_files():
        found += [f"{inside(path)}: {name}" for name in imports(path) if name.split(".")[0] in modules]
        for text in texts(path):
            named = any(module in text for module in modules) or text in names
            if named and (inside(path), text) not in NAMES_ALLOWED:
                found.append(f"{inside(path)}: {text!r}")
    assert found == []


def test_built_ins_import_public_names_only() -> None:
    public = {f"nlptasks.{name}" for name in nlptasks.__all__}
    found = []
    for path in sorted(BUILT_IN.rglob("*.py")):
        for name in imports(path):
            own = name.split(".")[0] == "nlptasks_plugins"
            allowed = own or (name in public if name.startswith("nlptasks") else name.split(".")[0] not in HEAVY)
            if not allowed:
                found.append(f"{path.name}: {name}")
    assert found == []


def test_only_three_packages_touch_tensors() -> None:
    found = [
        (inside(path), name)
        for path in core_files()
        for name in imports(path)
        if name.split(".")[0] in HEAVY and path.relative_to(CORE).parts[0] not in MAY_BE_HEAVY
    ]
    assert found == []


@pytest.mark.parametrize("layer", BELOW)
def test_arrows_only_point_down(layer: str) -> None:
    target = CORE / layer
    found = []
    for path in [target] if target.is_file() else sorted(target.rglob("*.py")):
        for name in imports(path):
            parts = name.split(".")
            if parts[0] == "nlptasks" and parts[1] not in BELOW[layer] and parts[1] != "hookspecs":
                found.append(f"{inside(path)}: {name}")
    assert found == []


def test_every_layer_is_listed() -> None:
    surfaces = {"__init__.py", "__main__.py", "cli", "engine.py", "progress.py", "training", "bases.py", "exchange.py"}
    here = {path.name for path in CORE.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    assert here <= BELOW.keys() | surfaces


def fresh(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd="/", timeout=60
    )


@pytest.mark.parametrize(
    "statement",
    [
        "import nlptasks",
        "import nlptasks; nlptasks.tasks()",
        "from nlptasks import Engine; Engine()",
        "import nlptasks.cli",
    ],
)
def test_nothing_heavy_is_imported_before_it_is_needed(statement: str) -> None:
    heavy = sorted([*HEAVY, "gradio", "datasets", "numpy"])
    done = fresh(f"import sys\n{statement}\nprint(*[name for name in {heavy} if name in sys.modules])")
    assert (done.stdout.strip(), done.stderr) == ("", "")


@pytest.mark.parametrize("arguments", [["--help"], ["tasks"], ["--version"], ["train", "--help"], ["run", "--help"]])
def test_the_command_line_starts_without_heavy_imports(arguments: list[str]) -> None:
    code = f"""
import sys
from nlptasks.cli import main
try:
    main({arguments})
except SystemExit as done:
    assert not done.code, done.code
heavy = [name for name in ("torch", "transformers", "peft", "gradio") if name in sys.modules]
print("HEAVY", *heavy)
"""
    done = fresh(code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip().endswith("HEAVY")


def test_start_is_fast() -> None:
    """Best of five, against a bare interpreter, in CPU time: what else the machine does is not ours."""

    def best(code: str) -> float:
        times = []
        for _ in range(5):
            start = spent()
            assert fresh(code).returncode == 0
            times.append(spent() - start)
        return min(times)

    def spent() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    bare = best("pass")
    assert best("import nlptasks") - bare < 0.3
    assert best("from nlptasks.cli import main; main(['--help'])") - bare < 0.3
