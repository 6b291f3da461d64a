"""What project.dev needs of the operating system: children that die with us, accounts, places for data."""

import contextlib
import ctypes
import os
import pwd
import signal
import subprocess
import threading
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from project.dev.forks import Fork

REPOSITORY = Path(__file__).resolve().parents[2]
ROOTS_HOME = Path("/var/lib/carillon")

Account = pwd.struct_passwd | None  # None: as ourselves
Command = Sequence[str | Path]
Process = subprocess.Popen[bytes]


class ServersError(Exception):
    """Something the person who started us can put right; the text says how."""


# ---------------------------------------------------------------- children

PR_SET_PDEATHSIG = 1
PRCTL = getattr(ctypes.CDLL(None), "prctl", None)  # Linux only


def spawn(command: Command, *, dies_by: signal.Signals, account: Account = None, **popen: Any) -> Process:
    """Start a child in a session of its own, which gets the signal `dies_by` when we die, even by kill -9.

    Where there is no such signal (macOS), the next start on the same data ends what a kill -9 left.
    It comes when the *thread* that started the child ends, hence from the main thread only.
    """
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("a child started by another thread would die with that thread")
    parent = os.getpid()

    def in_child() -> None:  # runs after the change of account, which would clear the signal
        if PRCTL:
            PRCTL(PR_SET_PDEATHSIG, int(dies_by))
        if os.getppid() != parent:  # it died before we could ask
            os._exit(1)

    popen |= as_account(account)
    return subprocess.Popen(command, start_new_session=True, preexec_fn=in_child, **popen)  # noqa: PLW1509


def end(process: "Process | Fork", gently: signal.Signals, seconds: float = 30) -> None:
    """End a child and wait for it. SIGQUIT makes Postgres drop everything and recover at the next start."""
    for number in (gently, signal.SIGQUIT, signal.SIGKILL):
        process.send_signal(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=seconds)
            return


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return pid > 0  # 0 is not a process


# ---------------------------------------------------------------- accounts and places


def server_account() -> Account:
    """Postgres refuses to run as root: then both servers run as `postgres`, or else as `nobody`."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")


def as_account(account: Account) -> dict[str, Any]:
    """What tells subprocess to run a child as that account."""
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []} if account else {}


def server_environ() -> dict[str, str]:
    """Nothing of ours: PGDATA or PGPORT would mislead it, and secrets are no business of another account."""
    return {"LC_ALL": "C"} | {k: os.environ[k] for k in ("PATH", "LD_LIBRARY_PATH") if k in os.environ}


def home() -> Path:
    """Where data is kept. Root's is outside the repository, which the servers' account may not reach."""
    if os.geteuid() != 0:
        return REPOSITORY / ".carillon"
    return ROOTS_HOME / sha256(bytes(REPOSITORY)).hexdigest()[:12]


def make_folder(path: Path) -> Path:
    """With its parents. What we make everybody may pass, whatever our umask; what exists stays as it is."""
    try:
        for folder in (*reversed(path.parents), path):
            if not folder.exists():
                folder.mkdir(exist_ok=True)
                folder.chmod(0o755)
    except PermissionError as error:
        raise ServersError(f"You may not make {error.filename}: use a clone of your own.") from error
    except OSError as error:
        raise ServersError(f"{path} cannot be made: {error}") from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise ServersError(f"You may not write to {path}: use a clone of your own.")
    return path
