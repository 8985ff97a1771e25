"""How long a million rows take on more machines, and what they cost: arithmetic on measured figures, no measurement.

    python benchmarks/scaling.py --rate 168 --share 0.7 --driver 14000 --start 30 --price 0.10

One machine answers `rate` rows a second. A machine of a cluster answers `share` of that. The driver reads rows and
writes answers at `driver` rows a second at most, which no number of machines exceeds. Each machine takes `start`
seconds before its first answer. `price` is that of a machine and hour. Prints a Markdown table.
"""

from __future__ import annotations

import argparse


def duration(rows: int, machines: int, arguments: argparse.Namespace) -> tuple[float, float]:
    """Rows a second, and the seconds of the whole."""
    share = 1.0 if machines == 1 else arguments.share
    rate = min(arguments.rate * share * machines, arguments.driver)
    return rate, arguments.start + rows / rate


def spoken(seconds: float) -> str:
    """A duration in words."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--machines", type=int, nargs="+", default=[1, 2, 10, 100])
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--share", type=float, required=True)
    parser.add_argument("--driver", type=float, required=True)
    parser.add_argument("--start", type=float, required=True)
    parser.add_argument("--price", type=float, required=True)
    arguments = parser.parse_args()
    print(f"| machines | rows a second | {arguments.rows:,} rows | machine hours | cost |\n|---|---|---|---|---|")
    for machines in arguments.machines:
        rate, seconds = duration(arguments.rows, machines, arguments)
        hours = machines * seconds / 3600
        print(f"| {machines} | {rate:,.0f} | {spoken(seconds)} | {hours:.1f} | {hours * arguments.price:.2f} |")


if __name__ == "__main__":
    main()
