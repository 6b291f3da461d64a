"""What tests of every part share."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

from apps.users.models import ServiceClient
from tests.api_helpers import Api, make_key, make_service

# A busy machine is no finding.
settings.register_profile("carillon", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("carillon")


@pytest.fixture
def service(db: None) -> ServiceClient:
    """A product service of the default organization."""
    return make_service()


@pytest.fixture
def api(service: ServiceClient) -> Api:
    """The service with a key that has every scope."""
    return Api(make_key(service))
