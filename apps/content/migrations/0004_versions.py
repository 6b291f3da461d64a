import django.db.models.deletion
import project.clock
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    """Templates get versions, in tables of their own. Processes of the release before go on with theirs."""

    dependencies = [
        ('content', '0003_type'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AlterField(  # its table stays, and nobody looks after it any more
            model_name='notificationtemplate',
            name='organization',
            field=models.ForeignKey(db_constraint=False, default=1, on_delete=django.db.models.deletion.DO_NOTHING, to='users.organization'),
        ),
        migrations.SeparateDatabaseAndState(state_operations=[migrations.DeleteModel('NotificationTemplate')]),
        migrations.CreateModel(
            name='TemplateVersion',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('number', models.IntegerField()),
                ('content', models.JSONField(default=dict)),
                ('defaults', models.JSONField(blank=True, default=dict)),
                ('schema', models.JSONField(blank=True, default=dict)),
                ('example', models.JSONField(blank=True, default=dict)),
                ('track', models.BooleanField(default=False)),
                ('note', models.CharField(blank=True, max_length=500)),
                ('created_at', models.DateTimeField(db_default=project.clock.Now())),
                ('published_at', models.DateTimeField(null=True)),
                ('created_by', models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('published_by', models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
        ),
        migrations.CreateModel(
            name='NotificationTemplate',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('slug', models.SlugField(db_index=False, help_text='What requests name it by.', max_length=100)),
                ('type', models.CharField(blank=True, help_text='Slug of its type: what people can opt out of. Empty: of none.', max_length=100)),
                ('default_language', models.CharField(default='en', help_text='For people in whose language there is no text.', max_length=35)),
                ('created_at', models.DateTimeField(db_default=project.clock.Now())),
                ('organization', models.ForeignKey(blank=True, help_text='Leave it empty for every organization.', null=True, on_delete=django.db.models.deletion.PROTECT, to='users.organization')),
            ],
            options={
                'db_table': 'content_template',
            },
        ),
        migrations.CreateModel(
            name='TemplateUse',
            fields=[
                ('version', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='use', serialize=False, to='content.templateversion')),
                ('count', models.BigIntegerField(default=0)),
                ('last_at', models.DateTimeField()),
            ],
        ),
        migrations.AddField(
            model_name='templateversion',
            name='template',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='versions', to='content.notificationtemplate'),
        ),
        migrations.AddField(
            model_name='notificationtemplate',
            name='current',
            field=models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.RESTRICT, related_name='+', to='content.templateversion'),
        ),
        migrations.AddConstraint(
            model_name='templateversion',
            constraint=models.UniqueConstraint(fields=('template', 'number'), name='template_version_number'),
        ),
        migrations.AddConstraint(
            model_name='templateversion',
            constraint=models.UniqueConstraint(condition=models.Q(('published_at__isnull', True)), fields=('template',), name='template_one_draft', violation_error_message='There is a draft already.'),
        ),
        migrations.AddConstraint(
            model_name='notificationtemplate',
            constraint=models.UniqueConstraint(fields=('slug', 'organization'), name='template_slug', nulls_distinct=False),
        ),
    ]
