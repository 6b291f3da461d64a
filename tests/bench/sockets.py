"""Seconds until the last of 5,000 sockets on one Daphne has its message, the memory of one that is idle, and
milliseconds until another tab knows what a person has read.

`one_each_s`: an in-app notification for 5,000 people, a socket each. `one_group_s`: for 100 people who have
50 sockets each. From the call of the intake service, so with planning, delivery and the inbox's rows; the
median of three. The floor is a bare Channels consumer on the same Daphne and Redis: 5,000 messages to a group
of one, and one message to a group of 5,000, of which nothing is kept.

`change_p50_ms`, `change_p99_ms`: 50 people with two sockets each beside the 5,000 mark an item as read or
unread once a second; from the message by one socket to the `changed` frame on the other, so with the commit.
The floor passes the message on by a group.
"""

from __future__ import annotations

import asyncio
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.bench import tabs
from tests.bench.clients import crowd
from tests.bench.pipeline import warm_up
from tests.bench.stage import Stage, make_people, stage
from tests.bench.tabs import Person

SOCKETS = 5_000
EVERYBODY = "everybody"  # a group of the bare consumer
PER_PERSON = 50  # sockets of one person in the group's run: as many as one server takes
TWO_TABS = 50  # people with two more sockets, of which one changes something
ROUNDS = 3
TEXT = "Hello, your order has left our warehouse and should reach you on Tuesday."


def main(_argv: list[str]) -> tuple[dict[str, float], dict[str, float]]:
    _allow_files(SOCKETS + 1_000)
    with stage() as built:
        user_ids = make_people(SOCKETS)
        floor = _floor(built)
        print(f"floor: {floor}", flush=True)
        built.processes.worker("planning")
        built.processes.worker("in_app", concurrency=2)
        warm_up("in_app", user_ids[:10])
        each = _measure(built, _tokens(user_ids), lambda: _notify(user_ids))
        few = user_ids[: SOCKETS // PER_PERSON]
        group = _measure(built, _tokens(few) * PER_PERSON, lambda: _notify(few))
        changes = _changes(built, _tokens(user_ids), _readers(user_ids[:TWO_TABS]))
    figures = {"one_each_s": each[0], "one_group_s": group[0], "kb_per_socket": each[1]}
    return {**figures, **changes, "sockets": SOCKETS}, floor


def _floor(built: Stage) -> dict[str, float]:
    names = [f"person-{number}" for number in range(SOCKETS)]
    app = "tests.bench.bare_sockets:application"
    each, memory = _measure(built, names, lambda: _broadcast(names), app)
    group, _ = _measure(built, names, lambda: _broadcast([EVERYBODY]), app)
    tellers = [Person(name, ('{"type":"changed"}',)) for name in names[:TWO_TABS]]
    changes = _changes(built, names, tellers, app)
    return {"one_each_s": each, "one_group_s": group, "kb_per_socket": memory, **changes}


def _measure(
    built: Stage, tokens: Sequence[str], send: Callable[[], None], app: str = "project.asgi:application"
) -> tuple[float, float]:
    """Seconds from `send` to the last socket (the median), and KiB of the server's memory per idle socket."""
    port, pid = built.start_sockets(app)
    before = _resident(pid)
    times = []
    with crowd(port, tokens) as people:
        memory = (_resident(pid) - before) / len(tokens)
        for _ in range(ROUNDS):
            started = time.time()
            send()
            times.append(people.all_reached() - started)
    built.processes.stop(["sockets"])
    print(f"{app}: {times}, {memory:.1f} KiB a socket", flush=True)
    return round(statistics.median(times), 3), round(memory, 1)


def _changes(
    built: Stage, tokens: Sequence[str], people: Sequence[Person], app: str = "project.asgi:application"
) -> dict[str, float]:
    """Milliseconds until these people's other sockets know of a change, beside a socket for each token."""
    port, _ = built.start_sockets(app)
    with crowd(port, tokens):
        hundredths = statistics.quantiles(tabs.times_between(port, people), n=100)
    built.processes.stop(["sockets"])
    p50, p99 = (round(hundredths[percent - 1] * 1_000, 1) for percent in (50, 99))
    print(f"{app}: {p50} ms, p99 {p99} ms to the other tab", flush=True)
    return {"change_p50_ms": p50, "change_p99_ms": p99}


_NEWEST = "SELECT max(target_id::text) FROM notifications_inboxitem WHERE user_id = %s"


def _readers(user_ids: Sequence[int]) -> list[Person]:
    """They read and unread what they got last."""
    from project import db

    newest = [db.rows(_NEWEST, [id])[0][0] for id in user_ids]
    wishes = [tuple(f'{{"type":"{kind}","ids":["{id}"]}}' for kind in ("read", "unread")) for id in newest]
    return [Person(*one) for one in zip(_tokens(user_ids), wishes, strict=True)]


def _tokens(user_ids: Sequence[int]) -> list[str]:
    from apps.users import tokens
    from apps.users.models import User

    return [tokens.mint(User(id=id), 3_600)[0] for id in user_ids]


def _notify(user_ids: Sequence[int]) -> None:
    from apps.notifications import intake
    from apps.notifications.intake import Order

    intake.accept_audience(
        Order(organization_id=1, channels=["in_app"], title="Shipped", body=TEXT), user_ids
    )


def _broadcast(groups: Sequence[str]) -> None:
    """A message to each of these groups, a hundred at a time."""
    from channels import DEFAULT_CHANNEL_LAYER
    from channels.layers import channel_layers

    async def send() -> None:
        layer = channel_layers.make_backend(DEFAULT_CHANNEL_LAYER)
        for start in range(0, len(groups), 100):
            message = {"type": "bare.message", "text": TEXT}
            await asyncio.gather(*(layer.group_send(group, message) for group in groups[start : start + 100]))
        await layer.flush()

    asyncio.run(send())


def _allow_files(wanted: int) -> None:
    """Let the processes to come have so many files open."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < wanted:
        sys.exit(f"bin/bench sockets needs {wanted} open files a process: raise `ulimit -Hn` from {most}.")
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def _resident(pid: int) -> float:
    """KiB. Linux only, as is the benchmark of this."""
    status = Path(f"/proc/{pid}/status").read_text()
    return float(status.split("VmRSS:")[1].split()[0])
