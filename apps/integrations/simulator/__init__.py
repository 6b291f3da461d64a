"""Providers without accounts: a real HTTP and SMTP server that speaks the vendors' wire formats.

What it accepted is in an append-only ledger before the answer leaves; faults are played on request. Each
vendor's part is `simulated.py` in that vendor's folder; nothing here knows a vendor.
"""

from apps.integrations.simulator.faults import FATES, FAULTS
from apps.integrations.simulator.ledger import Entry, Ledger
from apps.integrations.simulator.server import Dialect, Simulator

__all__ = ["FATES", "FAULTS", "Dialect", "Entry", "Ledger", "Simulator"]
