"""What happens to people that others must learn of in the same transaction."""

from __future__ import annotations

from django.dispatch import Signal

# Their time zone changed: `user_ids`, ascending. Sent by whoever writes it, before the commit.
moved = Signal()
