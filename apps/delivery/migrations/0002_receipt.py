import project.clock
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('delivery', '0001_initial'),
    ]

    operations = [
        migrations.CreateModel(
            name='Receipt',
            fields=[
                ('id', models.BigAutoField(primary_key=True, serialize=False)),
                ('provider', models.CharField(max_length=40)),
                ('event_id', models.CharField(max_length=200)),
                ('kind', models.CharField(max_length=20)),
                ('target_id', models.UUIDField(null=True)),
                ('attempt_id', models.UUIDField(null=True)),
                ('provider_message_id', models.CharField(blank=True, max_length=200)),
                ('address', models.CharField(blank=True, max_length=320)),
                ('code', models.CharField(blank=True, max_length=60)),
                ('address_is_dead', models.BooleanField()),
                ('occurred_at', models.DateTimeField(null=True)),
                ('raw', models.BinaryField()),
                ('received_at', models.DateTimeField(db_default=project.clock.Now())),
                ('due_at', models.DateTimeField(db_default=project.clock.Now(), null=True)),
                ('applied', models.CharField(blank=True, max_length=20)),
            ],
            options={
                'indexes': [models.Index(condition=models.Q(('due_at__isnull', False)), fields=['due_at', 'id'], name='receipt_due'), models.Index(condition=models.Q(('target_id__isnull', False)), fields=['target_id', 'id'], name='receipt_of_target'), models.Index(fields=['received_at'], name='receipt_age')],
                'constraints': [models.UniqueConstraint(fields=('provider', 'event_id'), name='receipt_once')],
            },
        ),
    ]
