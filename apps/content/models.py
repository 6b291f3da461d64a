"""Texts that people other than programmers write."""

from __future__ import annotations

from typing import NotRequired, TypedDict

from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.db import models

from apps.content import rendering
from apps.users.models import DEFAULT_ORGANIZATION_ID, Organization
from project.clock import Now
from project.queues import CHANNELS


class Pinned(TypedDict):
    """A template as a notification carries it from its acceptance on."""

    subject: str
    body: str
    html: str
    track: NotRequired[bool]


class NotificationTemplate(models.Model):
    """One text for one channel, in Liquid. The same name on several channels is one template to a caller."""

    organization = models.ForeignKey(Organization, models.PROTECT, default=DEFAULT_ORGANIZATION_ID)
    name = models.SlugField(max_length=100)
    channel = models.CharField(max_length=20)
    subject = models.CharField(
        max_length=500, blank=True, help_text="Subject of an e-mail, title of an in-app notification."
    )
    body = models.TextField(
        help_text="Plain text, in Liquid: Hello {{ recipient.name }}, order {{ order }} …"
    )
    html = models.TextField(blank=True, help_text="E-mail only; values are escaped.")
    track = models.BooleanField(
        default=False,
        db_default=False,
        help_text="E-mail only: count opens and clicks, with links and a pixel of our own in the HTML.",
    )
    variables = ArrayField(
        models.CharField(max_length=100),
        default=list,
        blank=True,
        help_text="Names the payload must have; a request without one is refused.",
    )
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "name", "channel"], name="template_name_channel")
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.channel})"

    def parts(self) -> dict[str, str]:
        """The sources, by the name of their field."""
        return {"subject": self.subject, "body": self.body, "html": self.html}

    def pinned(self) -> Pinned:
        """What a notification keeps of it when it is accepted."""
        kept: Pinned = {"subject": self.subject, "body": self.body, "html": self.html}
        return {**kept, "track": True} if self.track else kept

    def clean(self) -> None:
        """Refuse a source that does not parse, naming its field."""
        errors = {
            part: error for part, source in self.parts().items() if (error := rendering.syntax_error(source))
        }
        if self.channel not in CHANNELS:  # not `choices`: a new channel is no migration
            errors["channel"] = f"One of {', '.join(CHANNELS)}."
        if self.track and not (self.channel == "email" and self.html):
            errors["track"] = "There is no HTML of an e-mail to count opens and clicks of."
        if errors:
            raise ValidationError(errors)


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
