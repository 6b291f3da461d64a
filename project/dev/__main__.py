"""python -m project.dev servers [--unit | --durable] [--data DIR] -- COMMAND...  runs it beside the servers
python -m project.dev dev [...]  runs everything, for a person to try
"""

import argparse
import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType

from project.dev import servers

FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


def main(argv: list[str]) -> int:
    match argv[:1]:
        case ["servers"]:
            return run_with_servers(argv[1:])
        case ["dev"]:
            from project.dev import dev

            return dev.main(argv[1:])
    print(__doc__, file=sys.stderr)
    return 2


def run_with_servers(argv: list[str]) -> int:
    """Run a command while the servers run. Returns its exit code, 128 + n if signal n ended it."""
    options, command = _parse(argv)
    child: subprocess.Popen[bytes] | None = None

    def forward(number: int, _frame: FrameType | None) -> None:
        """The command has a session of its own: Ctrl-C reaches only us, and the command gets it once."""
        if child is None:
            raise SystemExit(128 + number)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, number)

    for number in FORWARDED:
        if signal.getsignal(number) != signal.SIG_IGN:  # nohup, a background job
            signal.signal(number, forward)
    with servers.start(options.data, durable=options.durable) as started:
        try:
            child = servers.spawn(command, dies_by=signal.SIGTERM, env=os.environ | started.environ)
        except OSError as error:
            print(f"carillon: {command[0]}: {error.strerror}", file=sys.stderr)
            return 127
        code = child.wait()
    return code if code >= 0 else 128 - code


def _parse(argv: list[str]) -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(prog="python -m project.dev servers", usage=__doc__)
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--durable", action="store_true", help="keep what is committed, as production does")
    kind.add_argument("--unit", action="store_false", dest="durable", help="faster, for tests (the default)")
    parser.add_argument(
        "--data", type=Path, help="a folder to keep the data in; else it is removed at the end"
    )
    at = argv.index("--") if "--" in argv else len(argv)
    if not argv[at + 1 :]:
        parser.error("name a command after --")
    return parser.parse_args(argv[:at]), argv[at + 1 :]


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except servers.ServersError as error:
        sys.exit(f"carillon: {error}")
