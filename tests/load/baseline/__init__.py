"""The peers of `bin/bench peers`, written as their own documentation would have them, and fast where they may
be.

The obvious design: one Celery task per target, a row saved at each step, a request to SendGrid per message by
`requests` on a kept connection, retries by Celery. What a team writes first, without its mistakes: bulk
inserts, one query for the message and all it needs, persistent database connections, no results.

django-post_office over SMTP: `send_many` in batches, rendering left to its own processes and threads, large
batches on kept connections, nothing logged. Its defaults (100 a batch, 5 threads, every message logged) are
slower.

    python -m tests.load.baseline obvious|post_office MESSAGES
"""
