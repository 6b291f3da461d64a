from django.db import migrations

# One template of several channels for each name; its sources are version 1, published.
COPY = """
WITH names AS (
    INSERT INTO content_template (organization_id, slug, type, default_language, created_at)
    SELECT organization_id, name, '', 'en', min(created_at) FROM content_notificationtemplate
    GROUP BY organization_id, name
    RETURNING id, organization_id, slug, created_at
), versions AS (
    INSERT INTO content_templateversion
        (template_id, number, content, defaults, schema, example, track, note, created_at, published_at)
    SELECT n.id, 1, jsonb_object_agg(o.channel, jsonb_build_object('en', jsonb_strip_nulls(jsonb_build_object(
               'subject', nullif(o.subject, ''), 'body', o.body, 'html', nullif(o.html, ''))))),
           '{}',
           coalesce((
               SELECT jsonb_build_object('type', 'object', 'required', jsonb_agg(DISTINCT needed))
               FROM content_notificationtemplate t CROSS JOIN unnest(t.variables) AS needed
               WHERE t.organization_id = n.organization_id AND t.name = n.slug
               HAVING count(*) > 0
           ), '{}'),
           '{}', bool_or(o.track), 'as it was before templates had versions', n.created_at, n.created_at
    FROM names n
    JOIN content_notificationtemplate o ON o.organization_id = n.organization_id AND o.name = n.slug
    GROUP BY n.id, n.organization_id, n.slug, n.created_at
    RETURNING id, template_id
)
SELECT 1 FROM versions
"""
# The CTEs above see no rows of each other's tables, so what is current is said by a statement of its own.
CURRENT = """
UPDATE content_template t SET current_id = v.id FROM content_templateversion v WHERE v.template_id = t.id
"""


class Migration(migrations.Migration):
    """Every template there is, with its texts as its first version.

    The table it came from stays as it is, for processes of the release before: change no template until all of
    them are replaced.
    """

    dependencies = [
        ('content', '0004_versions'),
    ]

    operations = [
        migrations.RunSQL(COPY, migrations.RunSQL.noop),
        migrations.RunSQL(CURRENT, migrations.RunSQL.noop),
    ]
