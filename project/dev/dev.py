"""bin/dev [--once] [--reset]: everything on this machine, with the simulator in place of the providers.

--once   send the demo notification, print how it went, stop; exit 0 only if it reached everywhere
--reset  throw away the data of earlier runs first (only what bin/dev made itself)
PORT     the API's port (8000); sockets and simulator take the next ones, or whatever is free
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from project.dev import demo, providers, servers
from project.dev.demo import Delivery, Demo
from project.dev.machine import make_folder
from project.dev.processes import (
    SLOWEST_START,
    WORKERS,
    Processes,
    free_port,
    simulated,
    turn_receipts_on,
)
from project.dev.providers import Simulated

PAUSE = 1.0  # seconds between looks at the processes, and before one that has ended is started again


def main(argv: list[str]) -> int:
    options = _parse(argv)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    with contextlib.suppress(KeyboardInterrupt):
        return _run(options)
    print("\nstopped")
    return 0 if not options.once else 130


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bin/dev", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--once", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--reset", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def _run(options: argparse.Namespace) -> int:
    began = time.monotonic()
    data = servers.default_data("dev")
    if options.reset:
        if os.environ.get("DATABASE_URL"):
            raise servers.ServersError(
                "--reset would erase DATABASE_URL's database, which bin/dev did not make."
            )
        servers.erase(data)
        shutil.rmtree(servers.default_data("demo"), ignore_errors=True)
    with servers.start(data, durable=True) as started:
        os.environ.update(started.environ)
        with _everything() as (processes, running, simulator, product):
            deliveries, seconds = demo.send(running)
            good = _tell(deliveries, seconds)
            if options.once:
                return 0 if good else 1
            _tell_where(running, simulator, product, time.monotonic() - began)
            _watch(processes)
    return 0


@contextlib.contextmanager
def _everything() -> Iterator[tuple[Processes, Demo, str, str]]:
    """All our processes, ready; what the demo calls with; the URLs of the simulator and of the product."""
    folder = make_folder(servers.default_data("demo"))
    port = int(os.environ.get("PORT") or 8000)
    api, sockets, simulator, smtp, http2, product = (_port(port + offset) for offset in range(6))
    os.environ.setdefault("DEBUG", "1")
    os.environ.setdefault("LOG_LEVEL", "WARNING")
    os.environ["DJANGO_SETTINGS_MODULE"] = "project.settings"
    os.environ.update(simulated(simulator, smtp, f"http://127.0.0.1:{api}"))
    processes = Processes(folder / "logs", {})
    try:
        processes.sockets(sockets)  # while we import what the others need, these import what only they do
        processes.simulator(simulator, smtp, folder / "ledger.jsonl", http2_port=http2)
        at = Simulated(f"http://127.0.0.1:{simulator}", f"http://127.0.0.1:{http2}")
        key, user_id = _django(folder, at)
        processes.by_fork = True
        processes.api(api)
        for groups in WORKERS:
            processes.worker(groups)
        processes.beat()
        places = {"api": f"http://127.0.0.1:{api}", "sockets": f"http://127.0.0.1:{sockets}"}
        processes.product(product, **places, key=key)
        running = Demo(**places, key=key, user_id=user_id)
        processes.wait_for(f"{running.api}/api/tokens/", "api")
        processes.wait_for(f"{running.sockets}/", "sockets")
        processes.wait_for(f"http://127.0.0.1:{simulator}/counts", "simulator")
        _wait_for_workers()
        turn_receipts_on(simulator, running.api)
        processes.wait_for(f"http://127.0.0.1:{product}/", "product")
        yield processes, running, f"http://127.0.0.1:{simulator}", f"http://127.0.0.1:{product}"
    finally:
        processes.stop()


def _wait_for_workers() -> None:
    """Until each channel has taken a bell from its lane: the demo shows deliveries, not starts."""
    from project import queues

    lanes = [f"{channel}.normal" for channel in queues.CHANNELS]
    for lane in lanes:
        queues.ring_now(lane)
    deadline = time.monotonic() + SLOWEST_START
    while any(queues.broker().llen(lane) for lane in lanes):
        if time.monotonic() > deadline:
            raise RuntimeError("the workers do not take their bells: see the logs")
        time.sleep(0.02)


def _django(folder: Path, at: Simulated) -> tuple[str, int]:
    """Import everything, migrate what is not, make the demo's rows; ready to fork."""
    import django

    django.setup()
    from django.conf import settings

    from apps.integrations.registry import adapter_class

    for module in (
        "celery.bin.worker",
        "kombu.transport.redis",
        "project.urls",
        "project.wsgi",
        "aiohttp.web",
    ):
        import_module(module)
    for provider in settings.PROVIDERS.values():
        adapter_class(provider)
    from django.core.management import call_command
    from django.db import connections

    call_command("migrate", verbosity=0)
    providers.install(at)
    prepared = demo.prepare(folder, at)
    connections.close_all()  # no child may share a connection of ours
    return prepared


def _port(wanted: int) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except (OSError, OverflowError):
            return free_port()
    return wanted


def _tell(deliveries: list[Delivery], seconds: float | None) -> bool:
    """Print how the demo went; whether it reached everywhere."""
    print("\nThe demo notification, from the API's 202 on:")
    for one in deliveries:
        after = (
            f"after {one.seconds * 1_000:,.0f} ms" if one.seconds is not None else one.reason or "on its way"
        )
        print(f"  {one.channel:20} {one.status:10} {after}")
    print(
        f"  {'socket':20} "
        + (f"{'received':10} after {seconds * 1_000:,.0f} ms" if seconds else "nothing came")
    )
    sys.stdout.flush()
    return seconds is not None and all(one.good for one in deliveries)


def _tell_where(running: Demo, simulator: str, product: str, seconds: float) -> None:
    request = json.dumps(demo.body())
    print(f"""
Ready after {seconds:.1f} s.

  Start here       {product}/        a page with an inbox on it, and a form that sends
  API, to try      {running.api}/api/docs/
  Admin            {running.api}/admin/        login {demo.ADMIN_LOGIN}, password {demo.ADMIN_PASSWORD}
  What was sent    {simulator}/        the simulator's outbox

Send the next one:

  curl {running.api}/api/notifications/ \\
    -H 'Authorization: Bearer {running.key}' \\
    -H 'Content-Type: application/json' \\
    -d '{request}'

Ctrl-C stops everything; the data stays for the next time.""")
    sys.stdout.flush()


def _watch(processes: Processes) -> None:
    """Until interrupted: start again whatever has ended by itself, or is stuck."""
    while True:
        time.sleep(PAUSE)
        look_after(processes)


def look_after(processes: Processes) -> None:
    """Start one again that has ended or is stuck, if there is such a one, and say so."""
    if (name := processes.ended()) is not None:
        happened = "has ended; it is"
    elif (name := processes.stuck()) is not None:
        happened = "hears no messages any more; it is killed and"
    else:
        return
    print(f"{name} {happened} started again. Its log ends:")
    print(processes.log(name, characters=1_000))
    processes.restart(name)
