import django.contrib.postgres.fields
import django.db.models.deletion
import project.clock
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('users', '0001_initial'),
    ]

    operations = [
        migrations.CreateModel(
            name='NotificationTemplate',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.SlugField(max_length=100)),
                ('channel', models.CharField(max_length=20)),
                ('subject', models.CharField(blank=True, help_text='Subject of an e-mail, title of an in-app notification.', max_length=500)),
                ('body', models.TextField(help_text='Plain text, in Liquid: Hello {{ recipient.name }}, order {{ order }} …')),
                ('html', models.TextField(blank=True, help_text='E-mail only; values are escaped.')),
                ('variables', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=100), blank=True, default=list, help_text='Names the payload must have; a request without one is refused.', size=None)),
                ('created_at', models.DateTimeField(db_default=project.clock.Now())),
                ('organization', models.ForeignKey(default=1, on_delete=django.db.models.deletion.PROTECT, to='users.organization')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('organization', 'name', 'channel'), name='template_name_channel')],
            },
        ),
    ]
