import django.db.models.deletion
import project.clock
import project.ids
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    """New tables only: older code does not see them."""

    dependencies = [
        ('users', '0001_initial'),
    ]

    operations = [
        migrations.CreateModel(
            name='Device',
            fields=[
                ('id', models.UUIDField(default=project.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('kind', models.CharField(max_length=20)),
                ('token', models.TextField()),
                ('digest', models.CharField(max_length=64)),
                ('name', models.CharField(blank=True, max_length=200)),
                ('is_active', models.BooleanField(default=True)),
                ('created_at', models.DateTimeField(db_default=project.clock.Now())),
                ('updated_at', models.DateTimeField(db_default=project.clock.Now())),
                ('deactivated_at', models.DateTimeField(null=True)),
                ('deactivated_reason', models.CharField(blank=True, max_length=60)),
                ('organization', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, to='users.organization')),
                ('user', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='devices', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'indexes': [models.Index(fields=['user', 'id'], name='device_of_user')],
                'constraints': [models.UniqueConstraint(fields=('organization', 'kind', 'digest'), name='device_token_once')],
            },
        ),
        migrations.CreateModel(
            name='Endpoint',
            fields=[
                ('id', models.UUIDField(default=project.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('kind', models.CharField(max_length=20)),
                ('address', models.TextField()),
                ('digest', models.CharField(max_length=64)),
                ('secrets', models.TextField(blank=True)),
                ('is_active', models.BooleanField(default=True)),
                ('created_at', models.DateTimeField(db_default=project.clock.Now())),
                ('deactivated_at', models.DateTimeField(null=True)),
                ('deactivated_reason', models.CharField(blank=True, max_length=60)),
                ('organization', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, to='users.organization')),
                ('user', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='endpoints', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'indexes': [models.Index(fields=['user', 'id'], name='endpoint_of_user')],
                'constraints': [models.UniqueConstraint(fields=('organization', 'user', 'kind', 'digest'), name='endpoint_address_once')],
            },
        ),
    ]
