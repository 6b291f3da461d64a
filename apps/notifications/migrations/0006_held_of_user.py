import datetime

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    """Built while notifications are accepted and sent."""

    atomic = False

    dependencies = [
        ('notifications', '0005_types_and_decisions'),
    ]

    operations = [
        AddIndexConcurrently(
            model_name='notification',
            index=models.Index(condition=models.Q(('template', ''), _negated=True), fields=['organization', 'template', '-id'], name='notification_template'),
        ),
        AddIndexConcurrently(
            model_name='notificationtarget',
            index=models.Index(condition=models.Q(('held_until__gt', datetime.datetime(2000, 1, 1, 0, 0, tzinfo=datetime.timezone.utc))), fields=['user', 'id'], name='target_held_of_user'),
        ),
        AddIndexConcurrently(
            model_name='notificationtarget',
            index=models.Index(condition=models.Q(('merged_into__isnull', False)), fields=['merged_into', 'id'], name='target_merged'),
        ),
    ]
