"""bin/chaos [--deliveries N] [--faults N] [--seed S] [--profile quick|full]: is anything lost or doubled?

Starts the real processes and servers of its own, sends traffic through the API, injects faults from a seeded
plan, heals, and holds the simulator's ledger and what clients saw against the database: docs/chaos.md.
"""

from __future__ import annotations

import argparse
import random
import resource
import shutil
import signal
import sys
import time

from tests.chaos import plan
from tests.chaos.plan import PROFILES
from tests.chaos.stage import Stage, stage

FILES = 16_384


def main(argv: list[str]) -> int:
    options = _parse(argv)
    print(f"seed {options.seed}", flush=True)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    _allow_many_connections()
    try:
        return _run(options)
    except KeyboardInterrupt:
        return 130


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bin/chaos", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--profile", choices=sorted(PROFILES), default="quick")
    parser.add_argument("--deliveries", type=int, help="how many targets at least")
    parser.add_argument("--faults", type=int)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    options = parser.parse_args(argv)
    options.deliveries = options.deliveries or PROFILES[options.profile].deliveries
    options.faults = options.faults or PROFILES[options.profile].faults
    return options


def _run(options: argparse.Namespace) -> int:
    from tests.chaos import checks, evidence, report, simulator

    began = time.monotonic()
    rounds = plan.make(options.seed, options.faults, options.profile)
    chance = random.Random(options.seed)
    with stage(chance) as built:
        keys: list[str] = []
        built.start(lambda: keys.append(_prepare(built)))
        simulator.answer_after(built, simulator.LATENCY)
        from tests.chaos.run import Run

        run = Run(built, keys[0], chance)
        print(f"started after {time.monotonic() - began:.0f} s", flush=True)
        run.play(rounds, options.profile, options.deliveries)
        checking = time.monotonic()
        seen = run.evidence()
        violations = checks.violations(seen)
        print(report.table(run.outcomes))
        print(report.about(run, seen))
        print(f"checked in {time.monotonic() - checking:.1f} s, all in {time.monotonic() - began:.0f} s")
        if violations:
            with built.connection() as connection:
                evidence.keep(connection, built.folder)
            print(report.timeline(run.outcomes))
            print(report.told(violations))
            print(f"logs, ledger and tables: {built.folder}")
        print(report.last_line(run, seen, violations, options.seed), flush=True)
    if not violations:
        shutil.rmtree(built.folder, ignore_errors=True)
    return checks.exit_code(violations)


def _allow_many_connections() -> None:
    """Each connection to a provider is two of our proxies': more files than the usual 1,024."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if most == resource.RLIM_INFINITY else min(FILES, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def _prepare(built: Stage) -> str:
    """The templates, the providers, and a service's API key, which is returned."""
    import django

    django.setup()
    from django.db import connection

    from apps.users.models import ApiKey, ServiceClient
    from project.dev import demo
    from tests.chaos import accounts

    accounts.install(built)
    _, text = ApiKey.issue(ServiceClient.objects.create(name="chaos"))
    demo.prepare_templates()
    connection.close()
    return text


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
