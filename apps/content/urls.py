from __future__ import annotations

from django.urls import path

from apps.content import api, type_api

urlpatterns = [
    path("types/", type_api.TypesView.as_view()),
    path("types/<slug:slug>/", type_api.TypeView.as_view()),
    path("templates/", api.TemplatesView.as_view()),
    path("templates/<slug:slug>/", api.TemplateView.as_view()),
    path("templates/<slug:slug>/versions/", api.VersionsView.as_view()),
    path("templates/<slug:slug>/versions/<int:number>/", api.VersionView.as_view()),
    path("templates/<slug:slug>/draft/", api.DraftView.as_view()),
    path("templates/<slug:slug>/publish/", api.PublishView.as_view()),
    path("templates/<slug:slug>/rollback/", api.RollbackView.as_view()),
    path("templates/<slug:slug>/compare/", api.CompareView.as_view()),
    path("templates/<slug:slug>/preview/", api.PreviewView.as_view()),
]
