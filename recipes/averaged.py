"""An adapter half way between two rounds of its training.

python recipes/averaged.py FIRST SECOND OUT --share 0.6 --temperature 1.3 [--threshold -2.8]

The weights of OUT are `share` of SECOND's and the rest of FIRST's, tensor by tensor, which keeps more of what the first
round knew than SECOND does (Wortsman et al. 2022, arXiv:2109.01903). SECOND's training must have started from FIRST.
All other files are SECOND's, but for its ranges for int8: measure these anew with `nlptasks adapters ranges`.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

from safetensors.numpy import load_file, save_file

WEIGHTS = "adapter_model.safetensors"


def average(first: Path, second: Path, out: Path, share: float, **fitted: float | None) -> None:
    """Write the folder `out`, with `fitted` in its manifest; raises ValueError if the two have different tensors."""
    old, new = load_file(first / WEIGHTS), load_file(second / WEIGHTS)
    shapes = [{name: tensor.shape for name, tensor in each.items()} for each in (old, new)]
    if shapes[0] != shapes[1]:
        raise ValueError(f"expected the same tensors in {first} and {second}, found others")
    shutil.copytree(second, out, ignore=shutil.ignore_patterns("ranges.safetensors"))
    mixed = {name: (share * new[name] + (1 - share) * old[name]).astype(old[name].dtype) for name in old}
    save_file(mixed, out / WEIGHTS, metadata={"format": "pt"})
    manifest = json.loads((out / "nlptasks.json").read_text(encoding="utf-8"))
    manifest |= {name: value for name, value in fitted.items() if value is not None}
    text = json.dumps(manifest, indent=2, ensure_ascii=False)
    (out / "nlptasks.json").write_text(text + "\n", encoding="utf-8")


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
