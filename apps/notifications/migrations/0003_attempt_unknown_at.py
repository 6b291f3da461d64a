from django.db import migrations, models


class Migration(migrations.Migration):
    """Nullable and without a default: no row of any partition is rewritten, and older code goes on writing."""

    dependencies = [
        ('notifications', '0002_cancellation'),
    ]

    operations = [
        migrations.AddField(
            model_name='deliveryattempt',
            name='unknown_at',
            field=models.DateTimeField(null=True),
        ),
    ]
