from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models, transaction

AT_ONCE = 1_000  # people in one transaction

# Until now nothing could be read: all that is in an inbox is unread and unseen.
PEOPLE = "SELECT user_id FROM notifications_inboxstate WHERE user_id > %s ORDER BY user_id LIMIT %s FOR UPDATE"
COUNT = """
UPDATE notifications_inboxstate s SET unread = counted.items, unseen = counted.items
FROM unnest(%s::bigint[]) AS g(user_id) CROSS JOIN LATERAL (
    SELECT count(*) AS items FROM notifications_inboxitem i WHERE i.user_id = g.user_id
) counted
WHERE s.user_id = g.user_id
"""


def count(apps, schema_editor):
    last = 0
    while True:
        with transaction.atomic(), schema_editor.connection.cursor() as cursor:
            cursor.execute(PEOPLE, [last, AT_ONCE])
            people = [user_id for (user_id,) in cursor.fetchall()]
            if not people:
                return
            cursor.execute(COUNT, [people])
        last = people[-1]


class Migration(migrations.Migration):
    """Indexes and counts, made while notifications are delivered.

    A worker of the release before numbers its items as ever, but does not count them: run
    `manage.py recount_inboxes` once all are new.
    """

    atomic = False

    dependencies = [
        ('notifications', '0010_inbox_changes'),
    ]

    operations = [
        AddIndexConcurrently(
            model_name='inboxitem',
            index=models.Index(condition=models.Q(('archived_at__isnull', True), ('recalled_at__isnull', True), ('snoozed_until__isnull', True)), fields=['user', 'sequence'], name='inbox_item_in'),
        ),
        AddIndexConcurrently(
            model_name='inboxitem',
            index=models.Index(condition=models.Q(('archived_at__isnull', False)), fields=['user', 'sequence'], name='inbox_item_archived'),
        ),
        AddIndexConcurrently(
            model_name='inboxitem',
            index=models.Index(condition=models.Q(('snoozed_until__isnull', False)), fields=['snoozed_until'], name='inbox_item_snoozed'),
        ),
        AddIndexConcurrently(
            model_name='inboxitem',
            index=models.Index(condition=models.Q(('snoozed_until__isnull', False)), fields=['user', 'sequence'], name='inbox_item_snoozed_of'),
        ),
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.RunSQL(
                    """CREATE UNIQUE INDEX CONCURRENTLY inbox_item_change ON notifications_inboxitem (user_id, change)
                       WHERE change > 0""",
                    "DROP INDEX CONCURRENTLY inbox_item_change",
                ),
            ],
            state_operations=[
                migrations.AddConstraint(
                    model_name='inboxitem',
                    constraint=models.UniqueConstraint(condition=models.Q(('change__gt', 0)), fields=('user', 'change'), name='inbox_item_change'),
                ),
            ],
        ),
        migrations.RunPython(count, migrations.RunPython.noop),
    ]
