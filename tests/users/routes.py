"""The project's routes, and what is answered beside them."""

from __future__ import annotations

from django.http import HttpRequest
from django.urls import path, re_path
from django.views.decorators.csrf import csrf_exempt
from rest_framework.request import Request
from rest_framework.views import APIView

from project import pages, urls


class CrashView(APIView):
    """Fails as the test says."""

    authentication_classes = ()
    permission_classes = ()
    error: Exception = RuntimeError("not set")

    def get(self, request: Request) -> None:
        raise type(self).error


@csrf_exempt
def crash_outside(request: HttpRequest) -> None:
    raise CrashView.error


urlpatterns = [
    path("api/crash/", CrashView.as_view()),
    path("api/crash-outside/", crash_outside),
    *urls.urlpatterns,
    re_path(r"^api/", pages.unknown_route),
]
handler400, handler403 = pages.handler400, pages.handler403
handler404, handler500 = pages.handler404, pages.handler500
