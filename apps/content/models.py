"""Types, and the texts that people other than programmers write."""

from __future__ import annotations

from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.db import IntegrityError, models

from apps.users.models import Organization, User
from project.clock import Now


class NotificationTemplate(models.Model):
    """A text under a name, of which there are versions. An organization's takes the place of the system's."""

    organization = models.ForeignKey(
        Organization,
        models.PROTECT,
        null=True,
        blank=True,
        help_text="Leave it empty for every organization.",
    )
    slug = models.SlugField(max_length=100, db_index=False, help_text="What requests name it by.")
    type = models.CharField(
        max_length=100, blank=True, help_text="Slug of its type: what people can opt out of. Empty: of none."
    )
    default_language = models.CharField(
        max_length=35, default="en", help_text="For people in whose language there is no text."
    )
    current = models.ForeignKey(  # what new notifications get; null: nothing was published yet
        "TemplateVersion", models.RESTRICT, null=True, blank=True, related_name="+", db_index=False
    )
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "content_template"  # in the other one are the templates of the releases before versions
        constraints = [
            models.UniqueConstraint(
                fields=["slug", "organization"], name="template_slug", nulls_distinct=False
            )
        ]

    def __str__(self) -> str:
        return self.slug


class PublishedVersion(IntegrityError):
    """A version was to be changed that notifications may refer to."""


class TemplateVersion(models.Model):
    """One wording of a template. A draft until it is published; after that it never changes.

    content: channel -> language -> part -> Liquid. The parts: subject (the title by push and in-app), body
    (plain text), html (e-mail only), link, avatar and actions (push and in-app; actions is a list of {"id",
    "label", "link"}, their label and link in Liquid).
    """

    template = models.ForeignKey(
        NotificationTemplate, models.CASCADE, related_name="versions", db_index=False
    )
    number = models.IntegerField()
    content = models.JSONField(default=dict)
    defaults = models.JSONField(default=dict, blank=True)  # values for what the payload leaves out
    schema = models.JSONField(default=dict, blank=True)  # JSON Schema (2020-12) of the payload
    example = models.JSONField(default=dict, blank=True)  # a payload for previews, which the schema takes
    track = models.BooleanField(default=False)  # e-mail: count opens and clicks
    note = models.CharField(max_length=500, blank=True)  # what changed, for those who look later
    created_at = models.DateTimeField(db_default=Now())
    created_by = models.ForeignKey(User, models.SET_NULL, null=True, related_name="+", db_index=False)
    published_at = models.DateTimeField(null=True)  # null: a draft
    published_by = models.ForeignKey(User, models.SET_NULL, null=True, related_name="+", db_index=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["template", "number"], name="template_version_number"),
            models.UniqueConstraint(
                fields=["template"],
                name="template_one_draft",
                condition=models.Q(published_at__isnull=True),
                violation_error_message="There is a draft already.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.template_id} v{self.number}"

    def save(self, *args: Any, **options: Any) -> None:
        """Raises PublishedVersion, as a trigger of the database does for what comes by another way."""
        kept = TemplateVersion.objects.filter(pk=self.pk, published_at__isnull=False)
        if not self._state.adding and kept.exists():
            raise PublishedVersion(f"version {self.number} is published: it never changes")
        super().save(*args, **options)


class TemplateUse(models.Model):
    """How often a version was used, counted from the notifications some minutes after they were accepted."""

    version = models.OneToOneField(TemplateVersion, models.CASCADE, primary_key=True, related_name="use")
    count = models.BigIntegerField(default=0)  # notifications
    last_at = models.DateTimeField()  # of the latest

    def __str__(self) -> str:
        return f"{self.version_id}: {self.count}"


class Category(models.TextChoices):
    """What kind of message a type is: whether it may wait, and what the law says of it."""

    IMMEDIATE = "immediate", "about something that happened just now"
    SCHEDULED = "scheduled", "about a time that is coming"
    DIGEST = "digest", "collected, and sent together"
    SYSTEM = "system", "about the service itself"
    MARKETING = "marketing", "advertising: legal hours and consent apply"


class Overflow(models.TextChoices):
    """What becomes of a message that is one too many."""

    SKIP = "skip", "it is not sent"
    DIGEST = "digest", "it goes into the next digest"
    FALLBACK = "fallback", "it goes by the next channel of the fallback chain"


class NotificationType(models.Model):
    """What a person can opt out of, and what a template belongs to.

    An organization's type takes the place of the system's with the same slug, by which choices refer to it.
    """

    organization = models.ForeignKey(
        Organization,
        models.PROTECT,
        null=True,
        blank=True,
        help_text="Leave it empty for every organization.",
    )
    slug = models.SlugField(max_length=100, db_index=False)
    name = models.CharField(max_length=200, help_text="As people read it when they choose.")
    description = models.CharField(max_length=500, blank=True)
    category = models.CharField(max_length=20)  # of `Category`
    channels = ArrayField(
        models.CharField(max_length=20),
        default=list,
        blank=True,
        help_text="By which it goes if the request names none; empty: by all the person has.",
    )
    critical = models.BooleanField(
        default=False, help_text="Goes out whatever people have chosen; only suppressions stop it."
    )
    dedupe_window = models.IntegerField(
        default=86_400, help_text="Seconds in which the same dedupe_key is the same event."
    )
    cap_per_hour = models.SmallIntegerField(
        null=True, blank=True, help_text="To one person by one channel; empty: no cap."
    )
    cap_per_day = models.SmallIntegerField(null=True, blank=True, help_text="To one person by one channel.")
    overflow = models.CharField(max_length=10, default=Overflow.SKIP.value)  # of `Overflow`
    fallback = ArrayField(
        models.CharField(max_length=20),
        default=list,
        blank=True,
        help_text="Channels to try in this order: for what is one too many, and for whom no other reaches.",
    )
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["slug", "organization"], name="type_slug", nulls_distinct=False)
        ]

    def __str__(self) -> str:
        return self.slug
