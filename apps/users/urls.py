from __future__ import annotations

from django.urls import URLPattern, path

from apps.users import schema  # noqa: F401  # registers how callers authenticate
from apps.users.api import TokensView, UsersView, UserView
from apps.users.places_api import DevicesView, DeviceView, EndpointsView, EndpointView, RotateView

urlpatterns: list[URLPattern] = [
    path("users/", UsersView.as_view(), name="users"),
    # `path`, so that an external_id may have slashes in it (URLs and URNs are used as such)
    path("users/<path:external_id>/", UserView.as_view(), name="user"),
    path("tokens/", TokensView.as_view(), name="tokens"),
    path("devices/", DevicesView.as_view(), name="devices"),
    path("devices/<uuid:id>/", DeviceView.as_view(), name="device"),
    path("endpoints/", EndpointsView.as_view(), name="endpoints"),
    path("endpoints/<uuid:id>/", EndpointView.as_view(), name="endpoint"),
    path("endpoints/<uuid:id>/rotate/", RotateView.as_view(), name="endpoint_rotate"),
]
