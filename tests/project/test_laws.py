"""Laws of the source itself: layers, no privilege for built-ins, and a start without heavy imports."""

from __future__ import annotations

import ast
import resource
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from importlib import import_module
from pathlib import Path

import pytest

import nlptasks
from nlptasks.model import HEADS

ROOT = Path(__file__).parents[2]
CORE = ROOT / "nlptasks"
BUILT_IN = ROOT / "plugins" / "nlptasks_plugins"
APP = ROOT / "ui" / "nlptasks_ui"
HEAVY = frozenset({"torch", "transformers", "peft"})
MAY_BE_HEAVY = ("runtime/", "training/", "testing/", "store/gguf.py")
"""What computes; and the one file of the store that rewrites published weights, which only transformers can read."""

NAMES_ALLOWED = {
    ("data/columns.py", "sentiment"),
    ("data/entities.py", "ner"),
    ("data/entities.py", "entities"),
    ("data/json_rows.py", "entities"),
    ("remote/openai.py", "embedding"),
    ("surfaces/openai.py", "embedding"),
    ("cli/serve.py", "ui"),
}
"""Usual names of columns in public data sets, GLiNER's of a row's entities, a word of OpenAI's answers, an extra. Verbs
of models may be tasks too."""

FACES = (
    "nlptasks",
    "nlptasks.store",
    "nlptasks.data",
    "nlptasks.training",
    "nlptasks.surfaces",
    "nlptasks.batches",
    "nlptasks.serve",
    "nlptasks.ray",
)
"""What a surface may import."""

TENSORS = {"runtime/cpu", "runtime/compiled", "runtime/fast", "runtime/loading", "runtime/verbs"}
BELOW: dict[str, set[str]] = {
    "_lazy.py": set(),
    "errors.py": set(),
    "process.py": {"errors.py"},
    "progress.py": {"model.py"},
    "results.py": {"errors.py"},
    "settings.py": {"errors.py"},
    "model.py": {"errors.py", "results.py"},
    "task.py": {"errors.py", "results.py", "model.py"},
    "definitions.py": {"backends.py", "discovery.py", "errors.py", "model.py", "results.py", "store", "task.py"},
    "requests.py": {"data", "errors.py", "model.py", "results.py", "task.py"},
    "hookspecs.py": {"backends.py", "results.py", "task.py"},
    "families": {"errors.py", "results.py", "model.py", "task.py"},
    "backends.py": {"errors.py", "model.py", "process.py"},
    "discovery.py": {"errors.py", "hookspecs.py", "task.py"},
    "plugins.py": {
        *(
            "backends.py",
            "definitions.py",
            "discovery.py",
            "errors.py",
            "hookspecs.py",
            "model.py",
            "process.py",
            "results.py",
        ),
        *("settings.py", "task.py"),
    },
    "store": {"_lazy.py", "errors.py", "model.py", "process.py", "settings.py"},
    "data": {"_lazy.py", "errors.py", "families", "task.py"},
    "bases.py": {"definitions.py", "errors.py", "plugins.py", "settings.py", "store", "task.py"},
    "runtime/cpu": {"process.py"},
    "runtime/worker.py": {"errors.py", "model.py", "process.py"},
    "runtime/loading": {"errors.py", "model.py", "process.py", "runtime/cpu", "store"},
    "runtime/verbs": {"errors.py", "results.py", "model.py", "runtime/cpu", "runtime/loading", "runtime/worker.py"},
    "runtime/compiled": {"errors.py", "runtime/cpu", "runtime/loading", "runtime/verbs", "store"},
    "runtime/fast": {
        *("errors.py", "model.py", "process.py", "runtime/compiled", "runtime/loading", "runtime/verbs", "store"),
        "runtime/worker.py",
    },
    "runtime/description.py": {"model.py", "runtime/loading", "runtime/verbs", "store"},
    "runtime/reading.py": {
        *("process.py", "runtime/compiled", "runtime/cpu", "runtime/loading", "runtime/verbs", "store"),
    },
    "runtime/writing.py": {
        *("model.py", "runtime/fast", "runtime/loading", "runtime/reading.py", "runtime/verbs", "runtime/worker.py"),
        *("process.py", "store"),
    },
    "runtime/bound.py": {"errors.py", "model.py", "process.py", "runtime/verbs", "runtime/worker.py", "store"},
    "runtime/resident.py": {
        *("runtime/bound.py", "runtime/description.py", "runtime/reading.py", "runtime/writing.py"),
        *("backends.py", "model.py", "process.py", "runtime/worker.py", "store"),
        *TENSORS,
    },
    "runtime/pool.py": {"backends.py", "errors.py", "model.py", "process.py", "runtime/resident.py", "store"},
    "remote": {"backends.py", "errors.py", "model.py", "process.py", "task.py"},
    "engine.py": {
        *(
            "backends.py",
            "bases.py",
            "data",
            "definitions.py",
            "errors.py",
            "families",
            "model.py",
            "plugins.py",
            "process.py",
        ),
        *("progress.py", "requests.py", "results.py", "runtime/loading", "settings.py", "store"),
        "task.py",
    },
    "training/recipes.py": {"errors.py", "model.py", "task.py"},
    "training/metrics": {"errors.py", "families"},
    "training/families": {
        *("data", "errors.py", "families", "model.py", "results.py", "runtime/verbs", "task.py", "training/metrics"),
    },
    "training/loop": {
        *("errors.py", "model.py", "runtime/cpu", "runtime/description.py", "runtime/loading", "settings.py", "store"),
        *("process.py", "task.py", "training/families", "training/recipes.py"),
    },
    "training/subprocesses.py": {"errors.py", "model.py"},
    "training/publishing": {
        "training/subprocesses.py",
        *("backends.py", "data", "errors.py", "model.py", "plugins.py", "runtime/compiled", "runtime/loading"),
        *("process.py", "runtime/resident.py", "settings.py", "store", "task.py"),
        *("training/families", "training/loop", "training/recipes.py"),
    },
    "training": {
        *(
            "_lazy.py",
            "backends.py",
            "data",
            "engine.py",
            "errors.py",
            "families",
            "model.py",
            "plugins.py",
            "process.py",
            "progress.py",
            "requests.py",
            "settings.py",
        ),
        *("store", "task.py", *TENSORS),
        *("training/families", "training/loop", "training/metrics", "training/publishing", "training/recipes.py"),
        "training/subprocesses.py",
    },
    "testing": {"backends.py", "definitions.py", "errors.py", "model.py", "plugins.py", "results.py", "task.py"},
}
"""What each layer may import of the core beside itself; surfaces stand above all of these and import faces."""


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def modules() -> dict[str, Path]:
    """Every module of this project by its name."""
    packages = (CORE, BUILT_IN, APP)
    return {name_of(path): path for package in packages for path in sorted(package.rglob("*.py"))}


def name_of(path: Path) -> str:
    home = next(place for place in (ROOT / "plugins", ROOT / "ui", ROOT) if path.is_relative_to(place))
    return ".".join(path.relative_to(home).with_suffix("").parts).removesuffix(".__init__")


def core_files() -> list[Path]:
    return sorted(CORE.rglob("*.py"))


def nodes(parent: ast.AST, *, for_types: bool) -> Iterator[ast.AST]:
    """What stands below a node, in functions too; without `for_types` not what only a type checker reads."""
    for node in ast.iter_child_nodes(parent):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING" and not for_types:
            continue
        yield node
        yield from nodes(node, for_types=for_types)


def imports(path: Path, *, for_types: bool = True) -> Iterator[str]:
    """Every module that a file imports anywhere; `from nlptasks import x` is nlptasks.x, a module or not."""
    for node in nodes(tree(path), for_types=for_types):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imported_modules(path: Path, *, for_types: bool = False) -> set[str]:
    """The modules of this project that a file imports; a name of a package counts as the package."""
    named = {name if name in modules() else name.rpartition(".")[0] for name in imports(path, for_types=for_types)}
    return {name for name in named if name in modules()}


def texts(path: Path) -> Iterator[str]:
    """String constants that the program can see: docstrings left out."""
    every = list(ast.walk(tree(path)))
    spoken = {id(node.value) for node in every if isinstance(node, ast.Expr)}
    for node in every:
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


@pytest.mark.long
def test_the_core_never_names_a_plugin() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    modules = {value.split(":")[0].split(".")[0] for value in project["entry-points"]["nlptasks"].values()}
    # A task may have the name of the verb that answers it.
    names = built_in_names() - HEADS.keys()
    assert modules
    assert names
    found = []
    for path in core_files():
        found += [f"{inside(path)}: {name}" for name in imports(path) if name.split(".")[0] in modules]
        for text in texts(path):
            named = any(module in text for module in modules) or text in names
            if named and (inside(path), text) not in NAMES_ALLOWED and text not in HEADS:
                found.append(f"{inside(path)}: {text!r}")
    assert found == []


def test_built_ins_import_public_names_only() -> None:
    public = {f"{face}.{name}" for face in ("nlptasks", "nlptasks.serve") for name in import_module(face).__all__}
    found = []
    for path in sorted(BUILT_IN.rglob("*.py")):
        for name in imports(path):
            own = name.split(".")[0] == "nlptasks_plugins"
            allowed = own or (name in public if name.startswith("nlptasks.") else name.split(".")[0] not in HEAVY)
            if not allowed:
                found.append(f"{path.name}: {name}")
    assert found == []


def test_only_what_computes_touches_tensors() -> None:
    found = [
        (inside(path), name)
        for path in core_files()
        for name in imports(path)
        if name.split(".")[0] in HEAVY and not inside(path).startswith(MAY_BE_HEAVY)
    ]
    assert found == []


def layer_of(module: str) -> str:
    """The layer that a module of the core is in: the longest that fits."""
    path = inside(modules()[module])
    return max((layer for layer in BELOW if f"{path}/".startswith(f"{layer}/")), key=len, default=path)


@pytest.mark.parametrize("layer", BELOW)
def test_arrows_only_point_down(layer: str) -> None:
    found = [
        f"{inside(path)}: {other}"
        for module, path in modules().items()
        if path.is_relative_to(CORE) and layer_of(module) == layer
        for other in imported_modules(path)
        if layer_of(other) not in {layer, *BELOW[layer]}
    ]
    assert found == []


def test_every_file_has_a_layer() -> None:
    surfaces = ("__init__.py", "__main__.py", "cli/", "surfaces/", "batches/", "serve/", "ray/", "runtime/__init__.py")
    layers = {inside(path): layer_of(name_of(path)) for path in core_files()}
    assert [path for path, layer in layers.items() if layer not in BELOW and not path.startswith(surfaces)] == []


@pytest.mark.parametrize(
    "surface",
    [CORE / "cli", CORE / "surfaces", CORE / "batches", CORE / "serve", CORE / "ray", APP],
    ids=lambda path: path.name,
)
def test_surfaces_import_faces_only_and_never_each_other(surface: Path) -> None:
    """Types too: what is private may change its name."""
    lazy = {"nlptasks._lazy"} if surface.parent == CORE else set()
    found = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in sorted(surface.rglob("*.py"))
        for name in imported_modules(path, for_types=True)
        if name not in {*FACES, *lazy} and not modules()[name].is_relative_to(surface)
    ]
    assert found == []


def test_no_circle_between_files() -> None:
    graph = {module: imported_modules(path) - {module} for module, path in modules().items()}
    try:
        order = tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f"these import each other: {' <- '.join(error.args[1])}")
    assert set(order) == graph.keys()


@pytest.mark.parametrize("face", FACES)
def test_a_face_has_what_its_stub_names_and_no_module_hides_a_name(face: str) -> None:
    package = import_module(face)
    for name in package.__all__:
        assert getattr(package, name) is not None
        assert f"{face}.{name}" not in modules(), f"{face}.{name} would be the module once that is imported"
    assert set(package.__all__) <= set(dir(package))
    with pytest.raises(AttributeError, match="has no attribute 'nothing_of_this_name'"):
        _ = package.nothing_of_this_name


def test_files_and_folders_stay_small() -> None:
    long, full = [], []
    for package in (CORE, BUILT_IN, APP):
        long += [path for path in package.rglob("*.py") if len(path.read_text(encoding="utf-8").splitlines()) > 400]
        folders = (folder for folder in (package, *package.rglob("*")) if folder.is_dir())
        full += [folder for folder in folders if sum(path.is_file() for path in folder.iterdir()) > 20]
    assert (long, [folder for folder in full if folder.name != "__pycache__"]) == ([], [])


def fresh(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd="/", timeout=60
    )


@pytest.mark.long
@pytest.mark.parametrize(
    "statement",
    [
        "import nlptasks",
        "import nlptasks; nlptasks.tasks()",
        "from nlptasks import Engine; Engine()",
        "import nlptasks.cli",
        *(
            f"import {face} as face; [getattr(face, name) for name in face.__all__]"
            for face in FACES
            if face != "nlptasks.training"
        ),
    ],
)
def test_nothing_heavy_is_imported_before_it_is_needed(statement: str) -> None:
    heavy = sorted([*HEAVY, "gradio", "datasets", "numpy", "ray"])
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
heavy = [name for name in ("torch", "transformers", "peft", "gradio", "ray") if name in sys.modules]
print("HEAVY", *heavy)
"""
    done = fresh(code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip().endswith("HEAVY")


@pytest.mark.long
def test_start_is_fast() -> None:
    """Best of five, against a bare interpreter, in CPU time: what else the machine does is not ours.

    0.3 s on an idle machine; a slow minute is allowed what it takes to import what no start can do without.
    """

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
    needed = "import importlib.metadata, click, pluggy, pydantic\nclass Model(pydantic.BaseModel):\n    text: str = ''"
    limit = max(0.3, 3 * (best(needed) - bare))
    assert best("import nlptasks") - bare < limit
    assert best("from nlptasks.cli import main; main(['--help'])") - bare < limit
