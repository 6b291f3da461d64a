"""python -m tests.bench.row NAME [arguments]: measures one row on the servers of the environment."""

from __future__ import annotations

import json
import os
import sys
from importlib import import_module

from tests.bench import results


def main(argv: list[str]) -> None:
    """Print the line, last, and keep it. A run with arguments measures something else, and is not kept."""
    name, *arguments = argv
    machine = results.machine()
    figures, floor = import_module(f"tests.bench.{name}").main(arguments)
    line = {
        "name": name,
        "figures": figures,
        "floor": floor,
        "ratio": {key: round(figures[key] / floor[key], 3) for key in figures if floor.get(key)},
        "cores": os.cpu_count(),
    }
    print(json.dumps(line), flush=True)
    if not arguments:
        results.keep(line, machine)


if __name__ == "__main__":
    main(sys.argv[1:])
