import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    """What people do with an item, a number for each change, and counts that are kept.

    The target's own times of this leave the models; their columns, which nothing ever wrote, stay until no
    process reads them any more.
    """

    dependencies = [
        ('notifications', '0009_use_cursor'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.RemoveField(
                    model_name='notificationtarget',
                    name='archived_at',
                ),
                migrations.RemoveField(
                    model_name='notificationtarget',
                    name='read_at',
                ),
                migrations.RemoveField(
                    model_name='notificationtarget',
                    name='seen_at',
                ),
            ]
        ),
        migrations.AddField(
            model_name='inboxitem',
            name='acted_at',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name='inboxitem',
            name='action',
            field=models.CharField(blank=True, db_default='', max_length=100),
        ),
        migrations.AddField(
            model_name='inboxitem',
            name='archived_at',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name='inboxitem',
            name='avatar',
            field=models.TextField(blank=True, db_default=''),
        ),
        migrations.AddField(
            model_name='inboxitem',
            name='change',
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name='inboxitem',
            name='read_at',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name='inboxitem',
            name='recalled_at',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name='inboxitem',
            name='seen_at',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name='inboxitem',
            name='snoozed_until',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name='inboxitem',
            name='type',
            field=models.CharField(blank=True, db_default='', max_length=100),
        ),
        migrations.AddField(
            model_name='inboxstate',
            name='unread',
            field=models.IntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name='inboxstate',
            name='unseen',
            field=models.IntegerField(db_default=0, default=0),
        ),
        migrations.AlterField(
            model_name='inboxitem',
            name='target',
            field=models.OneToOneField(db_constraint=False, on_delete=django.db.models.deletion.DO_NOTHING, primary_key=True, related_name='inbox_item', serialize=False, to='notifications.notificationtarget'),
        ),
    ]
