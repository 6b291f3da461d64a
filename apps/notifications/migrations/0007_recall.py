from django.db import migrations, models


class Migration(migrations.Migration):
    """Nullable: no row is rewritten, and older code goes on writing."""

    dependencies = [
        ('notifications', '0006_held_of_user'),
    ]

    operations = [
        migrations.AddField(
            model_name='notificationtarget',
            name='recalled_at',
            field=models.DateTimeField(null=True),
        ),
    ]
