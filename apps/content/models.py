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
