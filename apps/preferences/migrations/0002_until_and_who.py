import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    """Columns that older code need not know: it inserts without them."""

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        ('preferences', '0001_initial'),
    ]

    operations = [
        migrations.AddField(
            model_name='suppression',
            name='until',
            field=models.DateTimeField(blank=True, help_text='UTC. Leave it empty to suppress the address for good.', null=True),
        ),
        migrations.AddField(
            model_name='suppression',
            name='note',
            field=models.CharField(blank=True, db_default='', help_text='Why, for whoever looks later.', max_length=500),
        ),
        migrations.AddField(
            model_name='suppression',
            name='created_by',
            field=models.ForeignKey(blank=True, db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='suppression',
            name='client',
            field=models.ForeignKey(blank=True, db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='users.serviceclient'),
        ),
    ]
