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
            name='Suppression',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('channel', models.CharField(max_length=20)),
                ('address', models.CharField(max_length=320)),
                ('cause', models.CharField(max_length=20)),
                ('created_at', models.DateTimeField(db_default=project.clock.Now())),
                ('organization', models.ForeignKey(blank=True, db_index=False, help_text='Leave it empty to suppress the address for every organization.', null=True, on_delete=django.db.models.deletion.PROTECT, to='users.organization')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('address', 'channel', 'organization'), name='suppression_once', nulls_distinct=False, opclasses=['varchar_pattern_ops', 'varchar_ops', 'int8_ops'], violation_error_message='This address is suppressed already.')],
            },
        ),
    ]
