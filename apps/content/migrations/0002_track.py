from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('content', '0001_initial'),
    ]

    operations = [
        migrations.AddField(
            model_name='notificationtemplate',
            name='track',
            field=models.BooleanField(db_default=False, default=False, help_text='E-mail only: count opens and clicks, with links and a pixel of our own in the HTML.'),
        ),
    ]
