"""python -m project.serve [--host H] [--port P] [--workers N]  serves the HTTP API and the admin.

Granian, by measurement (docs/decisions/0003-http-server.md): the views are synchronous, so a WSGI server.
"""

from __future__ import annotations

import argparse

from granian import Granian
from granian.constants import Interfaces
from granian.log import LogLevels


def main() -> None:
    parser = argparse.ArgumentParser(prog="project.serve", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--threads", type=int, default=2, help="requests at a time in each")
    parser.add_argument("--app", default="project.wsgi:application")
    options = parser.parse_args()
    Granian(
        options.app,
        address=options.host,
        port=options.port,
        interface=Interfaces.WSGI,
        workers=options.workers,
        blocking_threads=options.threads,
        backlog=1024,
        log_access=False,
        log_level=LogLevels.warning,
        respawn_failed_workers=True,
    ).serve()


if __name__ == "__main__":
    main()
