"""python -m apps.integrations.simulator --port 8025 --smtp-port 1025 --ledger ledger.jsonl"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import os
import signal
import sys
from pathlib import Path

from apps.integrations.simulator.server import Simulator

PR_SET_PDEATHSIG = 1  # https://man7.org/linux/man-pages/man2/PR_SET_PDEATHSIG.2const.html


async def serve(options: argparse.Namespace) -> None:
    """Run until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    if options.parent_death:
        _end_with_parent()
    ports = {"port": options.port, "smtp_port": options.smtp_port, "http2_port": options.http2_port}
    async with Simulator(options.ledger, **ports) as simulator:
        smtp = "" if simulator.smtp_port is None else f" smtp 127.0.0.1:{simulator.smtp_port}"
        http2 = "" if simulator.http2_port is None else f" http2 127.0.0.1:{simulator.http2_port}"
        sys.stdout.write(f"ready {simulator.url}{smtp}{http2}\n")
        sys.stdout.flush()
        await stop.wait()


def _end_with_parent() -> None:
    parent = os.getppid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it ended in between
        os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="apps.integrations.simulator", description=__doc__)
    parser.add_argument("--port", type=int, default=8025, help="HTTP; 0 takes a free one")
    parser.add_argument("--smtp-port", type=int, help="SMTP; 0 takes a free one; without it there is none")
    parser.add_argument(
        "--http2-port", type=int, help="HTTP/2 in the clear; 0 takes a free one; without it there is none"
    )
    parser.add_argument(
        "--ledger", type=Path, required=True, help="the file of accepted messages; appended to"
    )
    parser.add_argument(
        "--parent-death", action="store_true", help="end when the parent process does (Linux)"
    )
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
