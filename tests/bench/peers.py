"""E-mails per second beside what else a team would run, on the same servers and with as many processes.

`obvious_design`: ours by the pipeline's bulk run (100,000 through SendGrid's bulk call), beside 3,000 by one
Celery task per target, a row saved at each step and one request per message. `post_office`: 5,000 of ours
over SMTP beside 5,000 of django-post_office in its fastest settings, to a server that takes every mail and
reads none. The peers and how they are set up are in `tests/load/baseline`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import psycopg

from project.dev.machine import REPOSITORY
from project.dev.processes import Processes, free_port
from tests.bench import mailbox, pipeline
from tests.bench.stage import make_people, stage

PROCESSES = 3  # of the e-mail group; the planner is the fourth
TARGETS = 100_000
SLOW_TARGETS = 3_000  # of the obvious design
SMTP_TARGETS = 5_000
DATABASE = "carillon_peers"
WORKER = ("worker", "--concurrency=4", "--without-gossip", "--without-mingle", "--loglevel=WARNING")


def main(_argv: list[str]) -> tuple[dict[str, float], dict[str, float]]:
    with stage() as built:
        built.start_simulator()
        user_ids = make_people(TARGETS)
        port = free_port()
        built.processes.start("mailbox", "-m", "tests.bench.mailbox", str(port))
        by_smtp = {"EMAIL_PROVIDER": "smtp", "EMAIL_PORT": str(port)}
        floor = _peers(built.ledger.parent, by_smtp)
        print(f"peers: {floor}", flush=True)
        bulk = pipeline.run(built.processes, "email", user_ids, PROCESSES, built.accepted)
        workers = Processes(built.ledger.parent / "smtp", by_smtp)
        smtp = pipeline.run(
            workers, "email", user_ids[:SMTP_TARGETS], PROCESSES, partial(mailbox.count, port)
        )
    return {"obvious_design": round(bulk), "post_office": round(smtp)}, floor


def _peers(folder: Path, by_smtp: dict[str, str]) -> dict[str, float]:
    """E-mails per second of each, on a database of their own."""
    server = os.environ["DATABASE_URL"].rpartition("/")[0]
    environ = {
        "DJANGO_SETTINGS_MODULE": "tests.load.baseline.settings",
        "DATABASE_URL": f"{server}/{DATABASE}",
    }
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")
        connection.execute(f"CREATE DATABASE {DATABASE}")
        try:
            workers = Processes(folder / "peers", environ)
            workers.start("celery", "-m", "celery", "-A", "tests.load.baseline.tasks", *WORKER)
            obvious = _run("obvious", SLOW_TARGETS, environ)
            workers.stop()
            post_office = _run("post_office", SMTP_TARGETS, environ | by_smtp)
            return {"obvious_design": obvious, "post_office": post_office}
        finally:
            connection.execute(f"DROP DATABASE {DATABASE} WITH (FORCE)")


def _run(peer: str, messages: int, environ: dict[str, str]) -> float:
    """What the peer's own program prints last. Raises CalledProcessError."""
    command = [sys.executable, "-m", "tests.load.baseline", peer, str(messages)]
    done = subprocess.run(
        command, cwd=REPOSITORY, env=os.environ | environ, stdout=subprocess.PIPE, text=True, check=True
    )
    return float(done.stdout.split()[-1])
