"""An adapter, or a model, half way between two rounds of its training.

python recipes/averaged.py FIRST SECOND OUT --share 0.6 --temperature 1.3 [--threshold -2.8]

The weights of OUT are `share` of SECOND's and the rest of FIRST's, tensor by tensor, which keeps more of what the first
round knew than SECOND does (Wortsman et al. 2022, arXiv:2109.01903). SECOND's training must have started from FIRST.
All other files are SECOND's, but for an adapter's ranges for int8: measure these anew with `nlptasks adapters ranges`.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

from safetensors.torch import load_file, save_file

MANIFEST = "nlptasks.json"
WEIGHTS = "*model*.safetensors"
"""Of an adapter one file, of a model one or several, by which its tensors may be divided in another way."""


def average(first: Path, second: Path, out: Path, share: float, **fitted: float | None) -> None:
    """Write the folder `out`, with `fitted` in an adapter's manifest.

    Raises:
        ValueError: the two have different tensors.
    """
    shutil.copytree(second, out, ignore=shutil.ignore_patterns("*.safetensors"))
    before, after = ({file.name: load_file(file) for file in folder.glob(WEIGHTS)} for folder in (first, second))
    old = {name: tensor for tensors in before.values() for name, tensor in tensors.items()}
    if {name: tensor.shape for name, tensor in old.items()} != {
        name: tensor.shape for tensors in after.values() for name, tensor in tensors.items()
    }:
        raise ValueError(f"expected the same tensors in {first} and {second}, found others")
    for file, tensors in after.items():
        mixed = {
            name: (share * tensor.float() + (1 - share) * old[name].float()).to(tensor.dtype).contiguous()
            for name, tensor in tensors.items()
        }
        save_file(mixed, out / file, metadata={"format": "pt"})
    if (out / MANIFEST).is_file():
        manifest = json.loads((out / MANIFEST).read_text(encoding="utf-8"))
        manifest |= {name: value for name, value in fitted.items() if value is not None}
        text = json.dumps(manifest, indent=2, ensure_ascii=False)
        (out / MANIFEST).write_text(text + "\n", encoding="utf-8")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for name in ("first", "second", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--share", type=float, default=0.5, help="share of the second round's weights")
    parser.add_argument("--temperature", type=float, help="what the logits are divided by, in place of SECOND's")
    parser.add_argument("--threshold", type=float, help="what the score of no answer is compared with, likewise")
    arguments = parser.parse_args()
    fitted = {"temperature": arguments.temperature, "threshold": arguments.threshold}
    average(arguments.first, arguments.second, arguments.out, arguments.share, **fitted)


if __name__ == "__main__":
    main()
