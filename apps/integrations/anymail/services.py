"""The services there are, and what the library's backend of each wants to be given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True, slots=True)
class Service:
    """One of the library's backends: https://anymail.dev/en/stable/esps/."""

    base_url: str  # of its API; "" where every customer has another
    api_key: str = "api_key"  # what the backend calls it
    needs: tuple[str, ...] = ()  # of the adapter's other options
    takes: tuple[str, ...] = ()
    metadata: bool = True  # it carries any; else our reference goes out as a tag
    headers: bool = True  # it takes any, of every account


# By the name of the library's module.
SERVICES: dict[str, Service] = {
    "brevo": Service("https://api.brevo.com/v3/"),
    # Takes headers of its bigger plans only, and refuses the rest; it adds a List-Unsubscribe of its own:
    # https://www.mailersend.com/help/how-to-add-a-custom-unsubscribe-header
    "mailersend": Service(
        "https://api.mailersend.com/v1/", api_key="api_token", metadata=False, headers=False
    ),
    "mailgun": Service("https://api.mailgun.net/v3/", takes=("sender_domain",)),
    "mailjet": Service("https://api.mailjet.com/v3.1/", needs=("secret_key",)),
    "mailtrap": Service("https://send.api.mailtrap.io/api/", api_key="api_token"),
    "mandrill": Service("https://mandrillapp.com/api/1.0/"),
    "postal": Service("", metadata=False),
    "postmark": Service("https://api.postmarkapp.com/", api_key="server_token"),
    "resend": Service("https://api.resend.com/"),
    "scaleway": Service(
        "https://api.scaleway.com/transactional-email/v1alpha1/regions/fr-par/",
        api_key="secret_key",
        needs=("project_id",),
    ),
    "sparkpost": Service("https://api.sparkpost.com/api/v1/"),
    "unisender_go": Service(""),
}

# Every argument of every backend: what is not given they look up in Django's settings.
_DEFAULTS: dict[str, Any] = {
    "requests_timeout": None,  # set for each message
    "ignore_unsupported_features": False,
    "ignore_recipient_status": False,
    "debug_api_requests": False,  # it prints keys and bodies
    "send_defaults": {},
    "idna_encoder": "idna2008",
    "batch_send_mode": None,
    "generate_message_id": False,
    "message_stream": None,
    "prevent_header_encoding_bugs": True,
    "region": "",  # a part of the base URL
    "sandbox_id": None,
    "sender_domain": None,
    "subaccount": None,
    "use_bulk_api": False,
    "verify_attachment_extensions": True,
    "workaround_display_name_bugs": True,
}


def backends(service: str, *, api_key: str, base_url: str, options: Mapping[str, str]) -> Callable[[], Any]:
    """What makes backends of this service. `options` are its own.

    Raises ValueError for a wrong set of them.
    """
    known = SERVICES.get(service)
    if known is None:
        raise ValueError(f"The service is one of {', '.join(SERVICES)}.")
    url = base_url or known.base_url
    own = {name: value for name, value in options.items() if value}
    if not url or not set(known.needs) <= set(own) <= {*known.needs, *known.takes}:
        raise ValueError(f"{service} needs {_wanted(known)}, and no other options.")
    arguments = {**_DEFAULTS, **own, known.api_key: api_key, "api_url": url}
    kind = import_module(f"anymail.backends.{service}").EmailBackend
    return lambda: _backend(kind, arguments)


def _wanted(service: Service) -> str:
    wanted = ["api_key", *(() if service.base_url else ("base_url",)), *service.needs]
    return ", ".join([*wanted, *(f"perhaps {name}" for name in service.takes)])


def _backend(kind: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
    backend = kind(**arguments)
    backend.send_defaults = {}  # those for all services come from nowhere but the settings
    return backend
