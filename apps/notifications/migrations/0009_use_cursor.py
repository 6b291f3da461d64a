import uuid

from django.db import migrations, models


def begin(apps, schema_editor):
    """With the first notification there is."""
    apps.get_model('notifications', 'UseCursor').objects.create(last=uuid.UUID(int=0))


class Migration(migrations.Migration):

    dependencies = [
        ('notifications', '0008_schedules'),
    ]

    operations = [
        migrations.CreateModel(
            name='UseCursor',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('last', models.UUIDField()),
            ],
        ),
        migrations.RunPython(begin, migrations.RunPython.noop),
    ]
