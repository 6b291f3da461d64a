from datetime import UTC, datetime

import django.contrib.postgres.fields
import django.db.models.deletion
import project.clock
import project.ids
from django.conf import settings
from django.db import migrations, models

from apps.notifications import partitions


# Partitioned by month on the id, a UUIDv7, so by time. The default partition takes what no month has;
# the control worker (or `manage.py partitions`) makes the months ahead.
ATTEMPTS = """
CREATE TABLE notifications_deliveryattempt (
    id uuid NOT NULL PRIMARY KEY,
    target_id uuid NOT NULL,
    number smallint NOT NULL,
    provider varchar(40) NOT NULL,
    worker varchar(100) NOT NULL,
    started_at timestamptz NOT NULL,
    finished_at timestamptz,
    outcome varchar(20) NOT NULL,
    code varchar(60) NOT NULL,
    provider_message_id varchar(200) NOT NULL
) PARTITION BY RANGE (id);
CREATE TABLE notifications_deliveryattempt_default PARTITION OF notifications_deliveryattempt DEFAULT;
"""

# Room on each page for the versions a target goes through (queued, sending, sent), and a vacuum that comes
# after thousands of dead rows, not after a fifth of the table.
STORAGE = """
ALTER TABLE notifications_notificationtarget SET (
    fillfactor = 60, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.2);
ALTER TABLE notifications_inboxstate SET (fillfactor = 60);
ALTER TABLE notifications_notificationsummary SET (fillfactor = 50);
"""


def make_partitions(apps, schema_editor):
    partitions.ensure(datetime.now(UTC))


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('users', '0001_initial'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(ATTEMPTS, "DROP TABLE notifications_deliveryattempt")],
            state_operations=[
                migrations.CreateModel(
                    name='DeliveryAttempt',
                    fields=[
                        ('id', models.UUIDField(editable=False, primary_key=True, serialize=False)),
                        ('target_id', models.UUIDField()),
                        ('number', models.SmallIntegerField()),
                        ('provider', models.CharField(max_length=40)),
                        ('worker', models.CharField(max_length=100)),
                        ('started_at', models.DateTimeField()),
                        ('finished_at', models.DateTimeField(null=True)),
                        ('outcome', models.CharField(max_length=20)),
                        ('code', models.CharField(blank=True, max_length=60)),
                        ('provider_message_id', models.CharField(blank=True, max_length=200)),
                    ],
                ),
            ],
        ),
        migrations.CreateModel(
            name='InboxState',
            fields=[
                ('user', models.OneToOneField(db_constraint=False, on_delete=django.db.models.deletion.DO_NOTHING, primary_key=True, serialize=False, to=settings.AUTH_USER_MODEL)),
                ('head', models.BigIntegerField()),
            ],
        ),
        migrations.CreateModel(
            name='Notification',
            fields=[
                ('id', models.UUIDField(default=project.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('title', models.TextField(blank=True)),
                ('body', models.TextField(blank=True)),
                ('template', models.CharField(blank=True, max_length=100)),
                ('content', models.JSONField(null=True)),
                ('payload', models.JSONField(default=dict)),
                ('channels', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=20), size=None)),
                ('all_channels', models.BooleanField(default=False)),
                ('priority', models.CharField(max_length=10)),
                ('bulk', models.BooleanField(default=False)),
                ('scheduled_at', models.DateTimeField(null=True)),
                ('expires_at', models.DateTimeField(null=True)),
                ('max_attempts', models.SmallIntegerField()),
                ('related_type', models.CharField(blank=True, max_length=100)),
                ('related_id', models.CharField(blank=True, max_length=200)),
                ('metadata', models.JSONField(default=dict)),
                ('recipient_count', models.IntegerField()),
                ('created_at', models.DateTimeField(db_default=project.clock.Now())),
                ('client', models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, to='users.serviceclient')),
                ('organization', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, to='users.organization')),
            ],
        ),
        migrations.CreateModel(
            name='NotificationSummary',
            fields=[
                ('notification', models.OneToOneField(db_constraint=False, on_delete=django.db.models.deletion.DO_NOTHING, primary_key=True, related_name='summary', serialize=False, to='notifications.notification')),
                ('planned', models.IntegerField(default=0)),
                ('held', models.IntegerField(default=0)),
                ('skipped', models.IntegerField(default=0)),
                ('sent', models.IntegerField(default=0)),
                ('delivered', models.IntegerField(default=0)),
                ('failed', models.IntegerField(default=0)),
                ('dead', models.IntegerField(default=0)),
                ('cancelled', models.IntegerField(default=0)),
                ('expired', models.IntegerField(default=0)),
            ],
        ),
        migrations.CreateModel(
            name='NotificationTarget',
            fields=[
                ('id', models.UUIDField(default=project.ids.target_id, editable=False, primary_key=True, serialize=False)),
                ('channel', models.CharField(max_length=20)),
                ('address', models.CharField(max_length=320)),
                ('lane', models.CharField(max_length=30)),
                ('status', models.CharField(max_length=10)),
                ('reason', models.CharField(blank=True, max_length=60)),
                ('next_attempt_at', models.DateTimeField(null=True)),
                ('held_until', models.DateTimeField(null=True)),
                ('expires_at', models.DateTimeField(null=True)),
                ('claim_id', models.BigIntegerField(null=True)),
                ('attempts', models.SmallIntegerField(default=0)),
                ('attempts_allowed', models.SmallIntegerField()),
                ('created_at', models.DateTimeField(db_default=project.clock.Now())),
                ('sent_at', models.DateTimeField(null=True)),
                ('delivered_at', models.DateTimeField(null=True)),
                ('settled_at', models.DateTimeField(null=True)),
                ('bounced_at', models.DateTimeField(null=True)),
                ('seen_at', models.DateTimeField(null=True)),
                ('read_at', models.DateTimeField(null=True)),
                ('opened_at', models.DateTimeField(null=True)),
                ('clicked_at', models.DateTimeField(null=True)),
                ('archived_at', models.DateTimeField(null=True)),
                ('complained_at', models.DateTimeField(null=True)),
                ('organization', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, to='users.organization')),
                ('user', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='targets', to=settings.AUTH_USER_MODEL)),
                ('notification', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='targets', to='notifications.notification')),
            ],
        ),
        migrations.CreateModel(
            name='AudienceChunk',
            fields=[
                ('id', models.BigAutoField(primary_key=True, serialize=False)),
                ('user_ids', django.contrib.postgres.fields.ArrayField(base_field=models.BigIntegerField(), size=None)),
                ('notification', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, to='notifications.notification')),
            ],
        ),
        migrations.CreateModel(
            name='IdempotencyKey',
            fields=[
                ('pk', models.CompositePrimaryKey('client', 'key', blank=True, editable=False, primary_key=True, serialize=False)),
                ('key', models.CharField(max_length=255)),
                ('fingerprint', models.BinaryField()),
                ('status_code', models.SmallIntegerField()),
                ('body', models.BinaryField()),
                ('created_at', models.DateTimeField(db_default=project.clock.Now())),
                ('client', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, to='users.serviceclient')),
            ],
            options={
                'indexes': [models.Index(fields=['created_at'], name='idempotency_key_age')],
            },
        ),
        migrations.CreateModel(
            name='InboxItem',
            fields=[
                ('target', models.OneToOneField(db_constraint=False, on_delete=django.db.models.deletion.DO_NOTHING, primary_key=True, serialize=False, to='notifications.notificationtarget')),
                ('sequence', models.BigIntegerField()),
                ('title', models.TextField(blank=True)),
                ('body', models.TextField(blank=True)),
                ('created_at', models.DateTimeField(db_default=project.clock.Now())),
                ('notification', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, to='notifications.notification')),
                ('user', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, to=settings.AUTH_USER_MODEL)),
            ],
        ),
        migrations.CreateModel(
            name='DeadLetter',
            fields=[
                ('id', models.BigAutoField(primary_key=True, serialize=False)),
                ('reason', models.CharField(max_length=60)),
                ('created_at', models.DateTimeField(db_default=project.clock.Now())),
                ('resolved_at', models.DateTimeField(null=True)),
                ('resolution', models.CharField(blank=True, max_length=20)),
                ('organization', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, to='users.organization')),
                ('resolved_by', models.ForeignKey(db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('target', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='dead_letters', to='notifications.notificationtarget')),
            ],
            options={
                'permissions': [('redrive_deadletter', 'Can re-drive what failed or is dead')],
                'indexes': [models.Index(condition=models.Q(('resolved_at__isnull', True)), fields=['-id'], name='dead_letter_open'), models.Index(fields=['target'], name='dead_letter_of_target')],
                'constraints': [models.UniqueConstraint(condition=models.Q(('resolved_at__isnull', True)), fields=('target',), name='dead_letter_one_open')],
            },
        ),
        migrations.AddIndex(
            model_name='notificationtarget',
            index=models.Index(fields=['notification', 'id'], name='target_of_notification'),
        ),
        migrations.AddIndex(
            model_name='notificationtarget',
            index=models.Index(condition=models.Q(('next_attempt_at__isnull', False)), fields=['lane', 'next_attempt_at', 'id'], name='target_due'),
        ),
        migrations.AddIndex(
            model_name='notificationtarget',
            index=models.Index(condition=models.Q(('held_until__isnull', False)), fields=['held_until', 'id'], name='target_held'),
        ),
        migrations.AddIndex(
            model_name='notificationtarget',
            index=models.Index(condition=models.Q(('expires_at__isnull', False), ('next_attempt_at__isnull', False)), fields=['expires_at', 'id'], name='target_expiring'),
        ),
        migrations.AddConstraint(
            model_name='notificationtarget',
            constraint=models.CheckConstraint(condition=models.Q(('status__in', ['held', 'queued', 'sending', 'retrying', 'unknown', 'sent', 'delivered', 'skipped', 'failed', 'dead', 'cancelled', 'expired'])), name='target_status'),
        ),
        migrations.AddConstraint(
            model_name='notificationtarget',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('next_attempt_at__isnull', False), ('status__in', ['queued', 'retrying'])), models.Q(models.Q(('status__in', ['queued', 'retrying']), _negated=True), ('next_attempt_at__isnull', True)), _connector='OR'), name='target_claimable_has_time'),
        ),
        migrations.AddConstraint(
            model_name='notificationtarget',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('held_until__isnull', False), ('status', 'held')), models.Q(models.Q(('status', 'held'), _negated=True), ('held_until__isnull', True)), _connector='OR'), name='target_held_has_time'),
        ),
        migrations.AddIndex(
            model_name='notification',
            index=models.Index(fields=['organization', '-id'], name='notification_newest'),
        ),
        migrations.AddIndex(
            model_name='notification',
            index=models.Index(condition=models.Q(('related_id', ''), _negated=True), fields=['organization', 'related_type', 'related_id', '-id'], name='notification_related'),
        ),
        migrations.AddConstraint(
            model_name='inboxitem',
            constraint=models.UniqueConstraint(fields=('user', 'sequence'), name='inbox_item_sequence'),
        ),
        migrations.RunSQL(STORAGE, migrations.RunSQL.noop),
        migrations.RunPython(make_partitions, migrations.RunPython.noop),
    ]
