"""People and their devices and endpoints, the services that speak for them, and their keys."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin as AuthUserAdmin
from django.db import transaction
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest
from django.utils.html import format_html

from apps.users import endpoints, place_rules, places, signals
from apps.users.forms import ApiKeyForm, UserAddForm, UserForm
from apps.users.models import ApiKey, Device, Endpoint, Organization, ServiceClient, User
from project import clock
from project.admin import BaseAdmin


@admin.register(Organization)
class OrganizationAdmin(BaseAdmin):
    list_display = ["name", "id", "created_at"]
    readonly_fields = ["created_at"]
    search_fields = ["name"]


_PERSON = ["external_id", "name", "email", "phone", "timezone", "language"]
_RIGHTS = ["is_staff", "is_superuser", "groups", "user_permissions"]


class PeopleAdmin(BaseAdmin):
    """A list of people, newest first, found by a beginning."""

    list_filter = []  # each would read the whole table
    ordering = ["-pk"]
    # Beginnings, case as it is: what the indexes can answer.
    search_fields = [f"{field}__startswith" for field in ("external_id", "email", "phone", "login")]
    search_help_text = "The beginning of an external id, an e-mail address, a phone number or a login."

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[User], search_term: str
    ) -> tuple[QuerySet[User], bool]:
        """Within every organization: the index of external ids begins with it."""
        if search_term:
            everywhere = list(Organization.objects.values_list("pk", flat=True))
            queryset = queryset.filter(organization_id__in=everywhere)
        return super().get_search_results(request, queryset, search_term)


@admin.register(User)
class UserAdmin(PeopleAdmin, AuthUserAdmin):  # type: ignore[type-arg]
    """Deactivated rather than deleted: their notifications stay explainable."""

    form = UserForm
    add_form = UserAddForm
    add_form_template = None
    list_display = ["id", "external_id", "name", "email", "phone", "is_active"]
    list_display_links = ["id", "external_id"]
    autocomplete_fields = ["organization"]
    readonly_fields = ["last_login", "created_at", "updated_at"]
    fieldsets = [
        (None, {"fields": [*_PERSON, "is_active"]}),
        ("Admin", {"fields": ["login", "password", *_RIGHTS, "last_login"], "classes": ["collapse"]}),
        ("Record", {"fields": ["organization", "created_at", "updated_at"], "classes": ["collapse"]}),
    ]
    add_fieldsets = [
        (None, {"fields": _PERSON}),
        (
            "Admin",
            {"fields": ["login", "usable_password", "password1", "password2"], "classes": ["collapse"]},
        ),
        ("Record", {"fields": ["organization"], "classes": ["collapse"]}),
    ]

    def save_model(self, request: HttpRequest, obj: User, form: ModelForm[User], change: bool) -> None:
        if change:
            obj.updated_at = clock.now()
        super().save_model(request, obj, form, change)
        if change and "timezone" in form.changed_data:
            signals.moved.send(sender=None, user_ids=[obj.pk])


class ApiKeyInline(admin.TabularInline):  # type: ignore[type-arg]
    """The keys of a service. They are issued by the action or under "API keys"."""

    model = ApiKey
    extra = 0
    can_delete = False
    show_change_link = True
    fields = ["prefix", "scopes", "created_at", "revoked_at"]
    readonly_fields = ["prefix", "scopes", "created_at", "revoked_at"]

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(ServiceClient)
class ServiceClientAdmin(BaseAdmin):
    list_display = ["name", "is_active", "created_at"]
    search_fields = ["name"]
    autocomplete_fields = ["organization"]
    readonly_fields = ["created_at"]
    fieldsets = [
        (None, {"fields": ["name", "is_active"]}),
        ("Record", {"fields": ["organization", "created_at"], "classes": ["collapse"]}),
    ]
    inlines = [ApiKeyInline]
    actions = ["issue_key"]

    @admin.action(description="Issue an API key", permissions=["change"])
    def issue_key(self, request: HttpRequest, clients: QuerySet[ServiceClient]) -> None:
        for client in clients.filter(is_active=True):
            key, text = ApiKey.issue(client)
            self.log_change(request, client, f"Issued {key}")
            _show_once(request, key, text)


@admin.register(ApiKey)
class ApiKeyAdmin(BaseAdmin):
    """Adding one issues it. Once issued, only its scopes can be changed; and it can be revoked, for good."""

    form = ApiKeyForm
    list_display = ["__str__", "client", "scopes", "created_at", "revoked_at"]
    list_select_related = ["client"]
    search_fields = ["prefix__startswith", "client__name"]
    autocomplete_fields = ["client"]
    actions = ["revoke"]

    def get_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> Any:
        return ["prefix", "client", "scopes", "created_at", "revoked_at"] if obj else ["client", "scopes"]

    def get_readonly_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> list[str]:
        return ["prefix", "client", "created_at", "revoked_at"] if obj else []

    def save_model(self, request: HttpRequest, obj: ApiKey, form: ModelForm[ApiKey], change: bool) -> None:
        text = None if change else obj.make_secret()
        super().save_model(request, obj, form, change)
        if text:
            _show_once(request, obj, text)

    @admin.action(description="Revoke the selected keys", permissions=["change"])
    def revoke(self, request: HttpRequest, keys: QuerySet[ApiKey]) -> None:
        for key in keys.filter(revoked_at__isnull=True):
            key.revoked_at = clock.now()
            key.save(update_fields=["revoked_at"])
            self.log_change(request, key, "Revoked")
        self.message_user(request, "Revoked: whoever still uses these keys is refused from now on.")


def _show_once(request: HttpRequest, key: ApiKey, text: str) -> None:
    told = format_html("The API key of {}: <code>{}</code> It is not shown again.", key.client, text)
    messages.warning(request, told)


class PlaceAdmin(BaseAdmin):
    """Where a person is reached: seen, switched off and on, forgotten. Its token or address is cut off."""

    deletable = True  # forgotten with its token or address; what is under way to it ends as gone
    list_display = ["__str__", "user", "shown", "is_active", "deactivated_reason", "created_at"]
    list_select_related = ["user"]
    list_filter = []  # each would read the whole table
    sortable_by = []
    search_fields = ["pk"]  # there is a search; what it looks for is below
    search_help_text = "In full: its address as targets have it, or the id or external id of its person."
    actions = ["deactivate", "activate"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.fields

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        try:
            return queryset.filter(pk=UUID(term.rpartition(":")[2])), False
        except ValueError:
            return queryset.filter(user__in=_people_called(term)), False

    @admin.action(description="Deactivate: nothing more is sent there", permissions=["change"])
    def deactivate(self, request: HttpRequest, rows: QuerySet[Any]) -> None:
        for row in rows.filter(is_active=True):
            with transaction.atomic():
                places.deactivate([str(row)], BY_HAND)
                self.log_change(request, row, "Deactivated")

    @admin.action(description="Activate", permissions=["change"])
    def activate(self, request: HttpRequest, rows: QuerySet[Any]) -> None:
        for row in rows.filter(is_active=False):
            row.is_active, row.deactivated_at, row.deactivated_reason = True, None, ""
            row.save(update_fields=["is_active", "deactivated_at", "deactivated_reason"])
            self.log_change(request, row, "Activated")


BY_HAND = "by_hand"  # why somebody's place is not active


def _people_called(term: str) -> list[int]:
    """The people with this id or external id, within every organization: the index begins with it."""
    everywhere = list(Organization.objects.values_list("pk", flat=True))
    named = User.objects.filter(organization_id__in=everywhere, external_id=term)
    found = list(named.values_list("pk", flat=True))
    return [*found, int(term)] if term.isascii() and term.isdecimal() and len(term) < 19 else found


_STATE = ["is_active", "deactivated_at", "deactivated_reason", "created_at"]


@admin.register(Device)
class DeviceAdmin(PlaceAdmin):
    fields = ["id", "user", "kind", "name", "shown", *_STATE, "updated_at"]

    @admin.display(description="token")
    def shown(self, row: Device) -> str:
        return place_rules.masked(row.kind, row.token)


@admin.register(Endpoint)
class EndpointAdmin(PlaceAdmin):
    fields = ["id", "user", "kind", "shown", *_STATE]

    @admin.display(description="address")
    def shown(self, row: Endpoint) -> str:
        return endpoints.shown(row)
