"""bin/bench NAME [arguments]   measures one row; its last line is JSON: name, figures, floor, ratio, cores
bin/bench all                measures every row, each on fresh servers
bin/bench --write-docs       writes docs/performance.md from what was measured here last; also after `all`
"""

from __future__ import annotations

import os
import secrets
import sys

from project.dev.__main__ import run_with_servers
from project.dev.servers import ServersError
from tests.bench import document
from tests.bench.goals import ROWS

AS_IN_PRODUCTION = {
    "DJANGO_SETTINGS_MODULE": "project.settings",
    "DEBUG": "0",
    "SECRET_KEY": secrets.token_hex(32),
    "ALLOWED_HOSTS": "localhost,127.0.0.1",
    "SSL_REDIRECT": "0",  # there is no proxy in front that would end TLS
}
BY_SIGNAL = 128  # exit codes from here on


def main(argv: list[str]) -> int:
    write = "--write-docs" in argv
    wanted = [argument for argument in argv if argument != "--write-docs"]
    if not (wanted or write) or (wanted and wanted[0] not in (*ROWS, "all")):
        print(f"{__doc__}\nNAME: {' | '.join(ROWS)}", file=sys.stderr)
        return 2
    code = 0
    for run in [[name] for name in ROWS] if wanted == ["all"] else [wanted] if wanted else []:
        code = measure(run) or code
        if code >= BY_SIGNAL:
            return code
    if write:
        document.write()
    return code


def measure(run: list[str]) -> int:
    """One row on servers of its own: what the one before has left in them must not slow it."""
    os.environ |= AS_IN_PRODUCTION
    return run_with_servers(["--durable", "--", sys.executable, "-m", "tests.bench.row", *run])


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (ServersError, document.NothingMeasured) as error:
        sys.exit(f"carillon: {error}")
