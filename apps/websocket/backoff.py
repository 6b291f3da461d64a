"""How long to wait before trying again."""

from __future__ import annotations

import random

CAP = 10.0  # seconds


def backoff(failures: int) -> float:
    """Seconds to wait after so many failures in a row: doubling from 0.2 to `CAP`, half of it by chance."""
    return min(CAP, 0.1 * 2.0 ** min(failures, 10)) * random.uniform(0.5, 1.0)  # noqa: S311
