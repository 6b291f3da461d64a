from django.db import migrations

from apps.content import seeds
from project.clock import Now


def sow(apps, schema_editor):
    """What is there already under the same slug stays as it is."""
    types, templates, versions = (
        apps.get_model('content', name) for name in ('NotificationType', 'NotificationTemplate', 'TemplateVersion')
    )
    for slug, type, wording in seeds.read('first'):
        types.objects.get_or_create(slug=slug, organization=None, defaults=type)
        template, is_new = templates.objects.get_or_create(slug=slug, organization=None, defaults={'type': slug})
        if is_new:
            template.current = versions.objects.create(template=template, number=1, published_at=Now(), **wording)
            template.save()


class Migration(migrations.Migration):
    """The system's types and templates. Their files never change (apps/content/seeds)."""

    dependencies = [
        ('content', '0006_published_never_changes'),
    ]

    operations = [
        migrations.RunPython(sow, migrations.RunPython.noop),
    ]
