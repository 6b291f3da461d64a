"""What tests of every part share."""

from __future__ import annotations

import pytest

from apps.users.models import ServiceClient
from tests.api_helpers import Api, make_key, make_service


@pytest.fixture
def service(db: None) -> ServiceClient:
    """A product service of the default organization."""
    return make_service()


@pytest.fixture
def api(service: ServiceClient) -> Api:
    """The service with a key that has every scope."""
    return Api(make_key(service))
