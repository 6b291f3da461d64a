"""What other sites' pages load from us, as it is served after `collectstatic`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management import call_command
from django.test import Client


def test_modules_are_served_small_and_to_pages_of_every_origin(tmp_path: Path, settings: Any) -> None:
    settings.STATIC_ROOT = str(tmp_path)
    settings.WHITENOISE_USE_FINDERS = False
    call_command("collectstatic", interactive=False, verbosity=0)
    answer = Client().get("/static/inbox/carillon-inbox.js", headers={"accept-encoding": "gzip"})
    assert answer.status_code == 200
    assert answer["Content-Type"].startswith("text/javascript")
    assert answer["Content-Encoding"] == "gzip"
    assert answer["Access-Control-Allow-Origin"] == "*"
