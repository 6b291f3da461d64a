"""Templates: written by people other than programmers, so mistakes are told with their line."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from apps.content import catalog, checking, listing, versioning
from apps.content.admin import drafts, pages
from apps.content.admin.drafts import DraftForm
from apps.content.models import NotificationTemplate, TemplateVersion
from apps.content.payloads import faults_of
from apps.users import normalise
from apps.users.models import User
from project.admin import BaseAdmin
from project.queues import CHANNELS

_NOBODY = 0  # no organization: sees what is the system's


class TemplateForm(forms.ModelForm):  # type: ignore[type-arg]
    """A template beside its wording."""

    class Meta:
        model = NotificationTemplate
        fields = ["slug", "type", "default_language", "organization"]

    def clean_default_language(self) -> str:
        """As people's languages are kept."""
        try:
            return normalise.language(self.cleaned_data["default_language"])
        except ValueError as error:
            raise forms.ValidationError(str(error)) from None

    def clean(self) -> dict[str, Any]:
        """Its type is one its organization has."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        organization = cleaned.get("organization") or self.instance.organization
        slug = cleaned.get("type")
        known = catalog.find(organization.pk if organization else _NOBODY, types=[slug] if slug else [])
        if slug and slug not in known.types:
            self.add_error("type", "There is no type with this slug.")
        return cleaned


class TemplateAdmin(BaseAdmin):
    """What needs no notifications: the list, a template's page, its draft, previews, comparisons."""

    deletable = True  # as long as nothing was published
    deleted_together = False
    form = TemplateForm
    change_form_template = "content/admin/template.html"
    list_display = ["slug", "type", "organization_words", "current_words", "draft_words", "uses", "last_use"]
    list_filter = []
    list_select_related = ["organization"]
    sortable_by = []
    search_fields = ["slug__startswith"]
    search_help_text = "The beginning of a slug."
    autocomplete_fields = ["organization"]
    fields = ["slug", "type", "default_language", "organization", "created_at"]

    # --- The list ----------------------------------------------------------------------------------------

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """The page's rows with where they stand: one statement for all of them."""
        found = super().get_changelist_instance(request)
        found.result_list = list(found.result_list)
        if not found.query:
            found.full_result_count = found.result_count  # no "results" where nobody searched
        standings = listing.standings([row.pk for row in found.result_list])
        for row in found.result_list:
            row.standing = standings[row.pk]
        return found

    @admin.display(description="organization")
    def organization_words(self, row: NotificationTemplate) -> str:
        return str(row.organization) if row.organization else "every organization"

    @admin.display(description="current")
    def current_words(self, row: Any) -> str:
        return f"v{row.standing.current}" if row.standing.current else "–"

    @admin.display(description="draft")
    def draft_words(self, row: Any) -> str:
        return f"v{row.standing.draft}" if row.standing.draft else "–"

    @admin.display(description="uses")
    def uses(self, row: Any) -> str:
        return f"{row.standing.uses:,}"

    @admin.display(description="last use")
    def last_use(self, row: Any) -> Any:
        return row.standing.last_used_at

    # --- One of them -------------------------------------------------------------------------------------

    def get_readonly_fields(self, request: HttpRequest, obj: NotificationTemplate | None = None) -> list[str]:
        """Requests name it by its slug. What was published is remembered with its default language."""
        if obj is None:
            return ["created_at"]
        fixed = ["default_language"] if _was_published(obj) else []
        return ["slug", "organization", "created_at", *fixed]

    def save_model(self, request: HttpRequest, obj: NotificationTemplate, form: Any, change: bool) -> None:
        if change:
            super().save_model(request, obj, form, change)
            return
        made = versioning.create(
            obj.organization_id, obj.slug, type=obj.type, default_language=obj.default_language
        )
        obj.pk = made.pk

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: Any = None) -> HttpResponse:
        return HttpResponseRedirect(self.url("draft", obj.pk))

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_delete_permission(request, obj) and not (obj and _was_published(obj))

    def delete_model(self, request: HttpRequest, obj: NotificationTemplate) -> None:
        listing.delete_unpublished(obj)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Beside the form: its versions, and what can be done with them."""
        template = self.get_object(request, object_id) if self.has_view_permission(request) else None
        more = {"versions": pages.versions_of(template)} if template else {}
        more["may_change"] = self.has_change_permission(request, template)  # type: ignore[assignment]
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), **more})

    def get_urls(self) -> list[URLPattern]:
        views = {
            "draft": self.draft_view,
            "discard": self.discard_view,
            "preview": self.preview_view,
            "compare": self.compare_view,
        }
        own = [
            path(f"<int:id>/{name}/", self.admin_site.admin_view(view), name=_name(name))
            for name, view in views.items()
        ]
        back = self.admin_site.admin_view(self.rollback_view)
        return [
            *own,
            path("<int:id>/rollback/<int:number>/", back, name=_name("rollback")),
            *super().get_urls(),
        ]

    def url(self, page: str, *args: Any) -> str:
        """The address of one of its pages."""
        return reverse(f"admin:{_name(page)}", args=args)

    def page(
        self, request: HttpRequest, name: str, title: str, template: NotificationTemplate, **context: Any
    ) -> HttpResponse:
        """One of its pages, with what all of them show. name: of the file."""
        shared = {"title": title, "subtitle": str(template), "opts": self.opts, "template": template}
        whole = {**self.admin_site.each_context(request), **shared, **context}
        return TemplateResponse(request, f"{name}.html", whole)

    def to_see(self, request: HttpRequest, id: int) -> NotificationTemplate:
        """The template. Raises Http404, and PermissionDenied for who may not look at it."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        template = NotificationTemplate.objects.select_related("organization").filter(pk=id).first()
        if template is None:
            raise Http404
        return template

    def to_change(self, request: HttpRequest, id: int) -> NotificationTemplate:
        """As `to_see`, for who may change it."""
        if not self.has_change_permission(request):
            raise PermissionDenied
        return self.to_see(request, id)

    # --- The draft ---------------------------------------------------------------------------------------

    def draft_view(self, request: HttpRequest, id: int) -> HttpResponse:
        """GET shows the draft, or what would become one; POST saves it, or adds a language to the page."""
        template = self.to_change(request, id)
        draft = listing.version_of(template, "draft")
        if request.method != "POST":
            version = draft or listing.version_of(template, "current")
            blocks = drafts.blocks_of(version.content if version else {}, template.default_language)
            form = DraftForm(blocks, template, initial=drafts.initial_of(version, blocks))
        elif "add" in request.POST:
            form = self._extended(request, template)
        else:
            form = DraftForm(drafts.blocks_sent(request.POST), template, data=request.POST)
            if form.is_valid() and _is_fresh(form, draft, request.POST):
                return self._saved(request, template, form)
        seen = request.POST.get("seen") if request.method == "POST" else drafts.fingerprint(draft)
        return self._draft_page(request, template, form, draft=draft, seen=seen)

    def _draft_page(
        self, request: HttpRequest, template: NotificationTemplate, form: DraftForm, **context: Any
    ) -> HttpResponse:
        return self.page(
            request, "content/admin/draft", "Draft", template, form=form, channels=CHANNELS, **context
        )

    def _extended(self, request: HttpRequest, template: NotificationTemplate) -> DraftForm:
        """What was typed, unjudged, with one block more."""
        blocks, added = drafts.blocks_sent(request.POST), drafts.block_added(request.POST)
        if added is None:
            messages.error(request, "Name a channel, and a language by its BCP 47 tag, such as pt-BR.")
        elif added not in blocks:
            blocks.append(added)
        return DraftForm(blocks, template, initial=request.POST.dict())

    def _saved(self, request: HttpRequest, template: NotificationTemplate, form: DraftForm) -> HttpResponse:
        draft = versioning.save_draft(template, **form.wording(), by=author(request))
        self.log_change(request, template, f"Saved the draft v{draft.number}")
        messages.success(request, f"The draft v{draft.number} is saved.")
        if names := sorted(checking.undeclared(draft)):
            text = "Used, but neither in the schema nor in the defaults, so empty where a payload lacks it: "
            messages.warning(request, text + ", ".join(names))
        after = f"{self.url('preview', template.pk)}?version=draft"
        stay = self.url("draft", template.pk)
        return HttpResponseRedirect(stay if "stay" in request.POST else after)

    def discard_view(self, request: HttpRequest, id: int) -> HttpResponse:
        """GET asks, POST discards the draft."""
        template = self.to_change(request, id)
        draft = listing.version_of(template, "draft")
        if draft is None:
            raise Http404
        if request.method == "POST":
            versioning.discard_draft(template)
            self.log_change(request, template, f"Discarded the draft v{draft.number}")
            messages.success(request, "The draft is discarded.")
            return HttpResponseRedirect(self.url("change", template.pk))
        text = f"The draft v{draft.number} will be gone for good."
        return self.page(
            request, "content/admin/confirm", "Discard the draft", template, text=text, button="Discard it"
        )

    # --- Looking, and going back -------------------------------------------------------------------------

    def preview_view(self, request: HttpRequest, id: int) -> HttpResponse:
        """A version in every channel and language; GET only, and nothing is written or sent."""
        template = self.to_see(request, id)
        version = self.asked(request, template, "version")
        form = pages.PayloadForm({"payload": request.GET.get("payload") or pages.payload_text(version)})
        payload = form.cleaned_data["payload"] if form.is_valid() else None
        more = {} if payload is None else _rendered(version, payload)
        return self.page(
            request, "content/admin/preview", "Preview", template, version=version, form=form, **more
        )

    def compare_view(self, request: HttpRequest, id: int) -> HttpResponse:
        """What is not the same in two versions; GET only."""
        template = self.to_see(request, id)
        before = self.asked(request, template, "from", otherwise="current")
        after = self.asked(request, template, "to", otherwise="draft")
        return self.page(
            request,
            "content/admin/compare",
            "Compare",
            template,
            before=before,
            after=after,
            changes=pages.changes(before, after),
        )

    def asked(
        self, request: HttpRequest, template: NotificationTemplate, name: str, *, otherwise: str = ""
    ) -> TemplateVersion:
        """The version a parameter names; without it `otherwise`, or the draft, else the current one.
        Raises Http404."""
        text = request.GET.get(name)
        found = pages.which(template, text, otherwise=otherwise or "draft")
        if found is None and not (text or otherwise):
            found = listing.version_of(template, "current")
        if found is None:
            raise Http404
        return found

    def rollback_view(self, request: HttpRequest, id: int, number: int) -> HttpResponse:
        """GET asks, POST makes new notifications get this version again."""
        template = self.to_change(request, id)
        version = listing.version_of(template, number)
        if version is None or version.published_at is None:
            raise Http404
        if request.method == "POST":
            made = versioning.roll_back(template, number, by=author(request))
            self.log_change(request, template, f"Rolled back to v{number}")
            messages.success(request, f"New notifications get v{made.number}: it says what v{number} said.")
            return HttpResponseRedirect(self.url("change", template.pk))
        current = listing.version_of(template, "current")
        return self.page(
            request,
            "content/admin/confirm",
            f"Roll back to v{number}",
            template,
            text=f"New notifications will get what v{number} says. Those accepted before keep theirs.",
            button="Roll back",
            changes=pages.changes(current, version) if current else [],
        )


def _rendered(version: TemplateVersion, payload: dict[str, Any]) -> dict[str, Any]:
    return {
        "sides": pages.sides(version, payload),
        "faults": faults_of(version.schema, {**version.defaults, **payload}),
        "undeclared": sorted(checking.undeclared(version)),
    }


def author(request: HttpRequest) -> User:
    """Who is logged in: a view of the admin lets nobody else in."""
    assert isinstance(request.user, User)
    return request.user


def _is_fresh(form: DraftForm, draft: TemplateVersion | None, sent: QueryDict) -> bool:
    """Whether the draft is still the one that was shown; says so in the form if not."""
    if sent.get("seen", "") == drafts.fingerprint(draft):
        return True
    form.add_error(None, "Somebody saved the draft meanwhile. Keep a copy of yours, and open it anew.")
    return False


def _was_published(template: NotificationTemplate) -> bool:
    return TemplateVersion.objects.filter(template=template, published_at__isnull=False).exists()


def _name(page: str) -> str:
    return f"content_notificationtemplate_{page}"
