"""A person's inbox: what is in it, and where its numbers and counts stand."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from apps.notifications.models import Notification, NotificationTarget, soft_key
from apps.users.models import User
from project.clock import Now

IN_INBOX = Q(archived_at__isnull=True, snoozed_until__isnull=True, recalled_at__isnull=True)


class InboxItem(models.Model):
    """A delivered in-app notification, and what its person has done with it.

    Only `inbox.py` and `inbox_changes.py` write here, under the lock of the person's InboxState. A recall
    takes the words out and leaves the row, from which those who have the item learn that it is gone.
    """

    target = models.OneToOneField(
        NotificationTarget,
        models.DO_NOTHING,
        primary_key=True,
        db_constraint=False,
        related_name="inbox_item",
    )
    user = soft_key(User)
    sequence = models.BigIntegerField()  # the number it came with: its place in the list
    change = models.BigIntegerField(default=0, db_default=0)  # that of its last change since; 0: none
    notification = soft_key(Notification)
    type = models.CharField(max_length=100, blank=True, db_default="")  # slug
    title = models.TextField(blank=True)
    body = models.TextField(blank=True)
    link = models.TextField(blank=True, db_default="")
    avatar = models.TextField(blank=True, db_default="")  # a picture's address, or a path
    actions = models.JSONField(null=True)  # [{"id", "label", "link"}]
    created_at = models.DateTimeField(db_default=Now())
    seen_at = models.DateTimeField(null=True)  # set whenever read_at is
    read_at = models.DateTimeField(null=True)
    archived_at = models.DateTimeField(null=True)
    snoozed_until = models.DateTimeField(null=True)  # set exactly while it is snoozed
    action = models.CharField(max_length=100, blank=True, db_default="")  # id of the button that was pressed
    acted_at = models.DateTimeField(null=True)
    recalled_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "sequence"], name="inbox_item_sequence"),
            models.UniqueConstraint(  # replay of changes
                fields=["user", "change"], name="inbox_item_change", condition=Q(change__gt=0)
            ),
        ]
        indexes = [
            models.Index(fields=["user", "sequence"], name="inbox_item_in", condition=IN_INBOX),  # the list
            models.Index(  # the list of what is archived
                fields=["user", "sequence"],
                name="inbox_item_archived",
                condition=Q(archived_at__isnull=False),
            ),
            models.Index(  # what is due to come back
                fields=["snoozed_until"], name="inbox_item_snoozed", condition=Q(snoozed_until__isnull=False)
            ),
            models.Index(  # a person's list of what is snoozed
                fields=["user", "sequence"],
                name="inbox_item_snoozed_of",
                condition=Q(snoozed_until__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user_id} #{self.sequence}"


class InboxState(models.Model):
    """Per person the last number given out, and how many items in the inbox are unread and unseen.

    Its row lock makes commit order the order of numbers, and the counts exact.
    """

    user = models.OneToOneField(User, models.DO_NOTHING, primary_key=True, db_constraint=False)
    head = models.BigIntegerField()
    unread = models.IntegerField(default=0, db_default=0)  # not archived, snoozed or recalled
    unseen = models.IntegerField(default=0, db_default=0)  # of these

    def __str__(self) -> str:
        return f"{self.user_id} @{self.head}"
