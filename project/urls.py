"""Every route. The API's are under /api/, each authenticated unless a test lists it as open.

Under /t/ are the links and pixels of tracked e-mails, under /u/ those to unsubscribe: open to anybody.
"""

from __future__ import annotations

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path, re_path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView

from project import pages

urlpatterns: list[URLPattern | URLResolver] = [
    path("admin/", admin.site.urls),
    path("api/schema/", SpectacularAPIView.as_view(), name="schema"),
    path("api/docs/", SpectacularSwaggerView.as_view(url_name="schema"), name="docs"),
    path("api/", include("apps.preferences.urls")),  # has one below a user, whose own route takes any path
    path("api/", include("apps.users.urls")),
    path("api/", include("apps.content.urls")),
    path("api/", include("apps.notifications.urls")),
    path("api/", include("apps.delivery.urls")),
    path("api/", include("apps.websocket.urls")),
    re_path(r"^api/", pages.unknown_route),
    path("t/", include("apps.notifications.tracking_urls")),
    path("u/", include("apps.preferences.unsubscribe_urls")),
]
handler400, handler403 = pages.handler400, pages.handler403
handler404, handler500 = pages.handler404, pages.handler500
