from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    """Built while suppressions are written: settles write them too, and must not wait."""

    atomic = False

    dependencies = [
        ('preferences', '0002_until_and_who'),
    ]

    operations = [
        AddIndexConcurrently(
            model_name='suppression',
            index=models.Index(fields=['organization', '-id'], name='suppression_newest'),
        ),
        AddIndexConcurrently(
            model_name='suppression',
            index=models.Index(condition=models.Q(('until__isnull', False)), fields=['until'], name='suppression_over'),
        ),
    ]
