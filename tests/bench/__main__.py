"""bin/bench NAME: runs a benchmark; its last line is JSON: name, figures, floor, ratio, cores."""

from __future__ import annotations

import json
import os
import secrets
import sys
from importlib import import_module

NAMES = ("pipeline", "api")
AS_IN_PRODUCTION = {
    "DJANGO_SETTINGS_MODULE": "project.settings",
    "DEBUG": "0",
    "SECRET_KEY": secrets.token_hex(32),
    "ALLOWED_HOSTS": "localhost,127.0.0.1",
    "SSL_REDIRECT": "0",  # there is no proxy in front that would end TLS
}


def main(argv: list[str]) -> int:
    if argv[:1] and argv[0] in NAMES:
        os.environ |= AS_IN_PRODUCTION
        figures, floor = import_module(f"tests.bench.{argv[0]}").main(argv[1:])
        ratio = {key: round(figures[key] / floor[key], 3) for key in figures}
        line = {"name": argv[0], "figures": figures, "floor": floor, "ratio": ratio, "cores": os.cpu_count()}
        print(json.dumps(line), flush=True)
        return 0
    print(f"bin/bench {' | '.join(NAMES)}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
