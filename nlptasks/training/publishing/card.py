"""The model card: what an adapter does, its data and metrics, and the command that trains it again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nlptasks.data.labelled_texts import DataOptions
from nlptasks.data.rows import Source, plural, source_name
from nlptasks.store.adapters import Manifest
from nlptasks.task import AnyTask, Recipe


def use_line(task: AnyTask, choice: str) -> str:
    """The command that runs the task on its first example; `choice` names the adapter or the model."""
    words = ["nlptasks", "run", task.name, *choice.split(" ", 1)]
    # A chat cannot be typed as a text.
    example = next(filter(_is_text, task.examples), "A text.")
    if isinstance(example, str):
        return shlex.join([*words, example])
    # The command takes the first field as its text, the others by name.
    first, *others = example.items()
    return shlex.join([*words, first[1], *(word for pair in others for word in ("-o", *pair))])


def _is_text(example: Any) -> bool:
    values = example.values() if isinstance(example, Mapping) else [example]
    return all(isinstance(value, str) for value in values)


def model_card(task: AnyTask, manifest: Manifest, base: str, summary: str, command: str, licence: str | None) -> str:
    """README.md of the folder; `base` is the public name of the base."""
    head = ["---", "library_name: peft", f"base_model: {base}"] if manifest.method == "lora" else ["---"]
    head += [f"license: {licence}"] if licence else []
    use = use_line(task, f"-a {manifest.name}" if manifest.method == "lora" else "-m PATH_OF_THIS_FOLDER")
    lines = [
        *[*head, "---", "", f"# {manifest.name}", ""],
        f"An adapter for the task `{manifest.task}` of nlptasks, trained on `{base}`."
        if manifest.method == "lora"
        else f"A model for the task `{manifest.task}` of nlptasks, all weights fine-tuned from `{base}`.",
        *["", "```bash", use, "```", ""],
        *(["## Labels", "", ", ".join(f"`{label}`" for label in manifest.labels), ""] if manifest.labels else []),
        *["## Data", "", *_data_lines(manifest.data), ""],
        *([f"Licence of the data, as given: {licence}.", ""] if licence else ["No licence was given.", ""]),
        *["## Training", "", f"{summary}.", "", "```bash", command, "```", ""],
        *["| setting | value |", "|---|---|"],
        *[f"| {name} | {value} |" for name, value in manifest.recipe.items() if value not in ({}, None)],
        *["", "## Metrics", ""],
        f"On {_measured_rows(manifest.data)}, in float32, with temperature "
        f"{manifest.temperature:g}. Training wrote them; the command above gives them again.",
        *["", "| metric | value |", "|---|---|"],
        *[f"| {name} | {value:.4f} |" for name, value in manifest.metrics.items()],
        *(f"| {name} of baseline {baseline} | {value:.4f} |" for baseline, name, value in _baselines(manifest)),
        *["", "## Limits", ""],
        f"{_chosen_by(manifest.data)}, so that new data may score lower. Texts are read {manifest.max_length} tokens "
        "at a time. Text of another kind or language than the data was not measured.",
        *["", f"Made on {manifest.created[:10]} with {', '.join(f'{k} {v}' for k, v in manifest.versions.items())}."],
    ]
    return "\n".join(lines) + "\n"


def _baselines(manifest: Manifest) -> list[tuple[str, str, float]]:
    """What answers without training reach in the recipe's metric: baseline, metric, value."""
    metric = manifest.recipe["metric_for_best_model"]
    measured = manifest.data.get("baseline", {})
    return [(name, metric, values[metric]) for name, values in measured.items() if metric in values]


def _data_lines(data: Mapping[str, Any]) -> list[str]:
    lines = []
    for role in ("train", "validation", "exclude"):
        for source in data.get(role, ()):
            digest = f", SHA-256 `{source['sha256']}`" if "sha256" in source else ""
            rows = f", {plural(source['rows'], 'row')}" if "rows" in source else ""
            lines.append(f"- {role}: `{source['name']}`{rows}{digest}")
    if start := data.get("start"):
        lines.append(f"- training started from the adapter `{start['name']}`, SHA-256 `{start['sha256']}`")
    lines.append(f"- {data.get('train_rows')} rows were trained on, {data.get('held_out_rows')} were held out")
    return lines


def _measured_rows(data: Mapping[str, Any]) -> str:
    if "cross_validated_rows" in data:
        return f"{data['cross_validated_rows']} rows, each left out once (cross-validation)"
    return f"{data.get('held_out_rows', 0)} held-out rows"


def _chosen_by(data: Mapping[str, Any]) -> str:
    if "cross_validated_rows" in data:
        return "The same rows also chose the strength of regularisation and the temperature"
    return "The held-out rows also chose the best checkpoint and the temperature"


def command_line(
    task: AnyTask,
    name: str,
    recipe: Recipe,
    sources: Sequence[Source],
    validation: Sequence[Source],
    exclude: Sequence[Source],
    options: DataOptions | None,
) -> str:
    """The command line that trains the same; files by their names only."""
    words = ["nlptasks", "train", task.name, *map(_file_name, sources), "--name", name]
    for flag, files in (("--validation", validation), ("--exclude", exclude)):
        for file in files:
            words += [flag, _file_name(file)]
    options = options or DataOptions()
    flags = {
        "--text-column": options.text_column,
        "--label-column": options.label_column,
        "--labels": ",".join(options.labels) if options.labels else None,
        "--max-rows": options.max_rows,
        "--columns": ",".join(f"{field}={column}" for field, column in options.columns.items()) or None,
        "--encoding": options.encoding,
        "--sheet": options.sheet,
        "--held-out": options.held_out if options.held_out != DataOptions.held_out else None,
    }
    for flag, value in flags.items():
        words += [flag, str(value)] if value is not None else []
    for old, new in options.rename.items():
        words += ["--rename", f"{old}={new}"]
    words += ["--allow-misaligned"] if options.allow_misaligned else []
    defaults = _flat(task.recipe)
    for key, value in _flat(recipe).items():
        if key not in defaults or value != defaults[key]:
            words += ["-o", key, _value(key, value)]
    return shlex.join(words)


def _value(key: str, value: Any) -> str:
    """A setting as `-o` reads it; those under `extra` are JSON."""
    if key.startswith("extra."):
        return value if isinstance(value, str) else json.dumps(value)
    return ",".join(value) if isinstance(value, list) else str(value)


def _flat(recipe: Recipe) -> dict[str, Any]:
    """The recipe's settings by the names that `-o` takes."""
    values = recipe.model_dump(mode="json")
    extra = values.pop("extra")
    return values | {f"extra.{name}": value for name, value in extra.items()}


def _file_name(source: Source) -> str:
    source = source_name(source)
    return source if source.startswith("hub:") else Path(source).name
