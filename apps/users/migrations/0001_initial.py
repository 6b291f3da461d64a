import apps.users.models
import django.contrib.postgres.fields
import django.db.models.deletion
import project.clock
from django.db import migrations, models


def make_default_organization(apps, schema_editor):
    # Its id is 1: the default of every foreign key to it (models.DEFAULT_ORGANIZATION_ID).
    apps.get_model("users", "Organization").objects.create(name="Default")


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('auth', '0012_alter_user_first_name_max_length'),
    ]

    operations = [
        migrations.RunSQL(project.clock.CREATE_SQL, "DROP FUNCTION carillon_now()"),
        migrations.CreateModel(
            name='Organization',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=200)),
                ('created_at', models.DateTimeField(db_default=project.clock.Now())),
            ],
        ),
        migrations.CreateModel(
            name='ServiceClient',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=200)),
                ('is_active', models.BooleanField(default=True)),
                ('created_at', models.DateTimeField(db_default=project.clock.Now())),
                ('organization', models.ForeignKey(default=1, on_delete=django.db.models.deletion.PROTECT, to='users.organization')),
            ],
        ),
        migrations.CreateModel(
            name='ApiKey',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('prefix', models.CharField(max_length=12, unique=True)),
                ('digest', models.CharField(max_length=64)),
                ('scopes', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=40), default=apps.users.models.all_but_keep_lane, size=None)),
                ('created_at', models.DateTimeField(db_default=project.clock.Now())),
                ('revoked_at', models.DateTimeField(blank=True, null=True)),
                ('client', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='keys', to='users.serviceclient')),
            ],
        ),
        migrations.CreateModel(
            name='User',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('last_login', models.DateTimeField(blank=True, null=True, verbose_name='last login')),
                ('is_superuser', models.BooleanField(default=False, help_text='Designates that this user has all permissions without explicitly assigning them.', verbose_name='superuser status')),
                ('external_id', models.CharField(blank=True, help_text="The person's id in the product services' own system.", max_length=200, null=True)),
                ('name', models.CharField(blank=True, max_length=200)),
                ('email', models.EmailField(blank=True, max_length=254)),
                ('phone', models.CharField(blank=True, help_text='E.164, such as +4930123456.', max_length=16)),
                ('timezone', models.CharField(default='UTC', help_text='IANA name, such as Europe/Berlin.', max_length=64)),
                ('language', models.CharField(default='en', help_text='BCP 47 tag, such as pt-BR.', max_length=35)),
                ('login', models.CharField(blank=True, max_length=150, null=True, unique=True)),
                ('password', models.CharField(default='!', max_length=128)),
                ('is_active', models.BooleanField(default=True)),
                ('is_staff', models.BooleanField(default=False)),
                ('created_at', models.DateTimeField(db_default=project.clock.Now())),
                ('updated_at', models.DateTimeField(db_default=project.clock.Now())),
                ('groups', models.ManyToManyField(blank=True, help_text='The groups this user belongs to. A user will get all permissions granted to each of their groups.', related_name='user_set', related_query_name='user', to='auth.group', verbose_name='groups')),
                ('user_permissions', models.ManyToManyField(blank=True, help_text='Specific permissions for this user.', related_name='user_set', related_query_name='user', to='auth.permission', verbose_name='user permissions')),
                ('organization', models.ForeignKey(db_index=False, default=1, on_delete=django.db.models.deletion.PROTECT, to='users.organization')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('organization', 'external_id'), name='user_external_id', opclasses=['int8_ops', 'varchar_pattern_ops'])],
                'indexes': [
                    models.Index(fields=['email'], name='user_search_email', opclasses=['varchar_pattern_ops']),
                    models.Index(fields=['phone'], name='user_search_phone', opclasses=['varchar_pattern_ops']),
                ],
            },
        ),
        migrations.RunPython(make_default_organization, migrations.RunPython.noop),
    ]
