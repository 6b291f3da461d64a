"""Templates for the services: written, published, rolled back, compared, looked at.

Tests and the impact of a version, which need notifications, are in `apps/notifications/template_api.py`.
"""

from __future__ import annotations

from typing import Any

from django.db import IntegrityError, transaction
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.content import checking, listing, versioning
from apps.content.models import NotificationTemplate, TemplateUse, TemplateVersion
from apps.content.named import (
    a_type,
    customised,
    no_faults,
    own,
    seen,
    there,
    told,
    unpublished,
    version_asked,
)
from apps.content.paging import slug_page
from apps.content.representations import comparison, preview, template, version, version_summary
from apps.content.samples import SAMPLE_RECIPIENT, recipient_of
from apps.content.schemas import (
    CompareQuery,
    ComparisonOutput,
    DraftInput,
    PreviewInput,
    RollbackInput,
    TemplateChanges,
    TemplateInput,
    TemplateOutput,
    TemplatePreview,
    VersionOutput,
    VersionSummary,
)
from apps.content.type_api import READING
from apps.content.versioning import Refused
from apps.users.api import active_person
from apps.users.authentication import organization_of
from apps.users.models import Scope
from project import db, paging
from project.api import PROBLEMS, Problem, body_of, parse
from project.paging import NoFilters

_TEMPLATES = NotificationTemplate.objects.all()
_WRITING = Scope.TEMPLATES
_TAGS = ["templates"]


class TemplatesView(APIView):
    """The templates there are."""

    scopes = {"GET": READING, "POST": _WRITING}

    @extend_schema(
        operation_id="templates_list",
        parameters=paging.PARAMETERS,
        responses={200: paging.page_model("TemplatePage", TemplateOutput), **PROBLEMS},
        tags=_TAGS,
    )
    def get(self, request: Request) -> Response:
        """Your organization's templates, and those of the system's that it has not replaced, by slug.

        Needs the scope `notifications:read` or `templates:write`.
        """
        page = slug_page(request, _TEMPLATES, organization_of(request))
        standings = listing.standings([row.pk for row in page.items])
        return Response(page.body(lambda row: template(row, standings[row.pk])))

    @extend_schema(
        operation_id="templates_create",
        request=TemplateInput,
        responses={201: TemplateOutput, **PROBLEMS},
        tags=_TAGS,
    )
    def post(self, request: Request) -> Response:
        """Create a template. It has no wording, so nothing can be sent with it before a draft is published.

        Needs the scope `templates:write`. A repeat is 409: the slug is taken.
        """
        asked, organization_id = body_of(TemplateInput, request), organization_of(request)
        a_type(organization_id, asked.type)
        try:
            with transaction.atomic():
                row = versioning.create(
                    organization_id, asked.slug, type=asked.type, default_language=asked.default_language
                )
        except IntegrityError:
            raise Problem(409, "slug_taken", "Your organization has a template with this slug.") from None
        return Response(_whole(row), status=201)


class TemplateView(APIView):
    """One template."""

    scopes = {"GET": READING, "PATCH": _WRITING, "DELETE": _WRITING}

    @extend_schema(operation_id="templates_get", responses={200: TemplateOutput, **PROBLEMS}, tags=_TAGS)
    def get(self, request: Request, slug: str) -> Response:
        """A template, of your organization or of the system.

        Needs the scope `notifications:read` or `templates:write`.
        """
        return Response(_whole(seen(organization_of(request), slug)))

    @extend_schema(
        operation_id="templates_patch",
        request=TemplateChanges,
        responses={200: TemplateOutput, **PROBLEMS},
        tags=_TAGS,
    )
    def patch(self, request: Request, slug: str) -> Response:
        """Change the type of your organization's template, or its default language. What is left out stays.

        Needs the scope `templates:write`. Notifications that were accepted keep the type they were accepted
        with. The default language is fixed by the first publication (409 `published`).
        """
        asked = body_of(TemplateChanges, request)
        changes = asked.model_dump(exclude_unset=True)
        organization_id = organization_of(request)
        a_type(organization_id, asked.type)
        with db.one_transaction():
            row = own(organization_id, slug, lock=True)
            if changes.get("default_language", row.default_language) != row.default_language:
                unpublished(row)
            for name, value in changes.items():
                setattr(row, name, value)
            row.save(update_fields=list(changes))
        return Response(_whole(row))

    @extend_schema(operation_id="templates_delete", responses={204: None, **PROBLEMS}, tags=_TAGS)
    def delete(self, request: Request, slug: str) -> Response:
        """Delete your organization's template with its draft.

        Needs the scope `templates:write`. 409 `template_in_use` once a version was published: what was
        accepted with it says what it says for as long as it is kept.
        """
        if not listing.delete_unpublished(own(organization_of(request), slug)):
            raise Problem(409, "template_in_use", "A version of it was published, so it stays.")
        return Response(status=204)


class VersionsView(APIView):
    """A template's versions."""

    scopes = {"GET": READING}

    @extend_schema(
        operation_id="templates_versions",
        parameters=paging.PARAMETERS,
        responses={200: paging.page_model("VersionPage", VersionSummary), **PROBLEMS},
        tags=_TAGS,
    )
    def get(self, request: Request, slug: str) -> Response:
        """The template's versions, newest first, without their wording.

        Needs the scope `notifications:read` or `templates:write`.
        """
        row = seen(organization_of(request), slug)
        _, errors = paging.filters_of(request, NoFilters)
        rows = TemplateVersion.objects.filter(template=row).defer("content", "schema", "example", "defaults")
        page = paging.paginate(request.query_params, rows, "number", errors=errors)
        uses = TemplateUse.objects.in_bulk([one.pk for one in page.items])
        return Response(page.body(lambda one: version_summary(row, one, uses.get(one.pk))))


class VersionView(APIView):
    """One version."""

    scopes = {"GET": READING}

    @extend_schema(operation_id="templates_version", responses={200: VersionOutput, **PROBLEMS}, tags=_TAGS)
    def get(self, request: Request, slug: str, number: int) -> Response:
        """A version in full, by its number; the draft has one, too.

        Needs the scope `notifications:read` or `templates:write`.
        """
        row = seen(organization_of(request), slug)
        return Response(_version(row, there(listing.version_of(row, number))))


class DraftView(APIView):
    """The wording that is being written."""

    scopes = {"GET": READING, "PUT": _WRITING, "DELETE": _WRITING}

    @extend_schema(operation_id="templates_draft", responses={200: VersionOutput, **PROBLEMS}, tags=_TAGS)
    def get(self, request: Request, slug: str) -> Response:
        """The draft in full; 404 if there is none.

        Needs the scope `notifications:read` or `templates:write`.
        """
        row = seen(organization_of(request), slug)
        return Response(_version(row, there(listing.version_of(row, "draft"))))

    @extend_schema(
        operation_id="templates_draft_put",
        request=DraftInput,
        responses={200: VersionOutput, **PROBLEMS},
        tags=_TAGS,
    )
    def put(self, request: Request, slug: str) -> Response:
        """Save the whole draft. Under the slug of a system's template this begins one of your own.

        Needs the scope `templates:write`. Every fault is named, with the line and column of one in a text,
        and a draft with faults is not saved.
        """
        organization_id = organization_of(request)
        asked = body_of(DraftInput, request)
        row = seen(organization_id, slug)
        no_faults(asked, row)
        draft = versioning.save_draft(
            row if row.organization_id else customised(organization_id, row),
            content=asked.content,
            schema=asked.payload_schema,
            example=asked.example,
            defaults=asked.defaults,
            track=asked.track,
            note=asked.note,
            by=None,
        )
        return Response(_version(row, draft))

    @extend_schema(operation_id="templates_draft_discard", responses={204: None, **PROBLEMS}, tags=_TAGS)
    def delete(self, request: Request, slug: str) -> Response:
        """Discard the draft of your organization's template.

        Needs the scope `templates:write`.
        """
        row = own(organization_of(request), slug)
        there(listing.version_of(row, "draft"))
        versioning.discard_draft(row)
        return Response(status=204)


class PublishView(APIView):
    """From a draft to what new notifications get."""

    scopes = {"POST": _WRITING}

    @extend_schema(
        operation_id="templates_publish",
        request=None,
        responses={200: TemplateOutput, **PROBLEMS},
        tags=_TAGS,
    )
    def post(self, request: Request, slug: str) -> Response:
        """Publish the draft: from now on new notifications get it. Those accepted before keep theirs.

        Needs the scope `templates:write`. 409 `no_draft` if there is none: also for a repeat. A draft with
        faults is refused.
        """
        body_of(NoFilters, request)
        row = own(organization_of(request), slug)
        try:
            versioning.publish(row, by=None)
        except Refused as refused:
            if refused.faults:
                raise told(refused.faults) from None
            raise Problem(409, "no_draft", refused.detail) from None
        return Response(_whole(seen(organization_of(request), slug)))


class RollbackView(APIView):
    """Back to an earlier version."""

    scopes = {"POST": _WRITING}

    @extend_schema(
        operation_id="templates_rollback",
        request=RollbackInput,
        responses={200: TemplateOutput, **PROBLEMS},
        tags=_TAGS,
    )
    def post(self, request: Request, slug: str) -> Response:
        """Publish a new version that says what an earlier one said. May be repeated: it does nothing then.

        Needs the scope `templates:write`.
        """
        asked = body_of(RollbackInput, request)
        row = own(organization_of(request), slug)
        version_asked(row, asked.version, published=True)
        versioning.roll_back(row, asked.version, by=None)
        return Response(_whole(seen(organization_of(request), slug)))


_WHICH = "A number, or `draft`, or `current`."


class CompareView(APIView):
    """What changed."""

    scopes = {"GET": READING}

    @extend_schema(
        operation_id="templates_compare",
        parameters=[
            OpenApiParameter("from", str, required=True, description=_WHICH),
            OpenApiParameter("to", str, required=True, description=_WHICH),
        ],
        responses={200: ComparisonOutput, **PROBLEMS},
        tags=_TAGS,
    )
    def get(self, request: Request, slug: str) -> Response:
        """Every text, setting and part of the schema that is not the same in two versions.

        Needs the scope `notifications:read` or `templates:write`.
        """
        asked = parse(CompareQuery, request.query_params.dict())
        row = seen(organization_of(request), slug)
        before = version_asked(row, asked.before, field="from")
        after = version_asked(row, asked.after, field="to")
        return Response(comparison(before, after, versioning.compare(before, after)))


class PreviewView(APIView):
    """What a version says."""

    scopes = {"POST": READING}

    @extend_schema(
        operation_id="templates_preview",
        request=PreviewInput,
        responses={200: TemplatePreview, **PROBLEMS},
        tags=_TAGS,
    )
    def post(self, request: Request, slug: str) -> Response:
        """A version's words in every channel and language. Nothing is written or sent.

        Needs the scope `notifications:read` or `templates:write`.
        """
        asked = body_of(PreviewInput, request)
        organization_id = organization_of(request)
        of = version_asked(seen(organization_id, slug), asked.version)
        person = None if asked.user is None else active_person(organization_id, asked.user)
        recipient = SAMPLE_RECIPIENT if person is None else recipient_of(person)
        payload = of.example if asked.payload is None else asked.payload
        return Response(preview(of, payload, versioning.preview(of, payload, recipient)))


def _whole(row: NotificationTemplate) -> dict[str, Any]:
    return template(row, listing.standings([row.pk])[row.pk])


def _version(row: NotificationTemplate, one: TemplateVersion) -> dict[str, Any]:
    use = TemplateUse.objects.filter(pk=one.pk).first()
    return version(row, one, use, undeclared=checking.undeclared(one))
