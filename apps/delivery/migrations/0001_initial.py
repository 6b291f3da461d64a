import django.contrib.postgres.fields
import project.clock
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
    ]

    operations = [
        migrations.CreateModel(
            name='Claim',
            fields=[
                ('id', models.BigAutoField(primary_key=True, serialize=False)),
                ('lane', models.CharField(max_length=30)),
                ('provider', models.CharField(max_length=40)),
                ('worker', models.CharField(max_length=100)),
                ('target_ids', django.contrib.postgres.fields.ArrayField(base_field=models.UUIDField(), size=None)),
                ('call_started_at', models.DateTimeField(null=True)),
                ('lease_until', models.DateTimeField(null=True)),
                ('grace_until', models.DateTimeField(null=True)),
                ('created_at', models.DateTimeField(db_default=project.clock.Now())),
            ],
            options={
                'indexes': [models.Index(condition=models.Q(('lease_until__isnull', False)), fields=['lease_until'], name='claim_lease'), models.Index(condition=models.Q(('grace_until__isnull', False)), fields=['grace_until'], name='claim_grace')],
            },
        ),
    ]
