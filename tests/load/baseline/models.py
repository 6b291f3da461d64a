"""The rows of the obvious design."""

from __future__ import annotations

from django.db import models


class Person(models.Model):
    """Who is written to."""

    external_id = models.CharField(max_length=200)
    name = models.CharField(max_length=200)
    email = models.EmailField()


class Notification(models.Model):
    """What was asked for: Django templates and their payload."""

    subject = models.TextField()
    body = models.TextField()
    payload = models.JSONField(default=dict)
    created_at = models.DateTimeField(auto_now_add=True)


class Message(models.Model):
    """One person's."""

    notification = models.ForeignKey(Notification, models.CASCADE)
    person = models.ForeignKey(Person, models.CASCADE)
    status = models.CharField(max_length=10, default="pending", db_index=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)


class Attempt(models.Model):
    """One request to the provider."""

    message = models.ForeignKey(Message, models.CASCADE)
    status_code = models.SmallIntegerField(null=True)
    provider_message_id = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True)
