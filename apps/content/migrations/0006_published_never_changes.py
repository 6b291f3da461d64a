from django.db import migrations

# Not of the columns that say who it was: they become null when that person is deleted.
CREATE = """
CREATE FUNCTION content_published_never_changes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND (NEW.id, NEW.template_id, NEW.number, NEW.content, NEW.defaults, NEW.schema, NEW.example,
                             NEW.track, NEW.note, NEW.created_at, NEW.published_at)
       IS NOT DISTINCT FROM (OLD.id, OLD.template_id, OLD.number, OLD.content, OLD.defaults, OLD.schema, OLD.example,
                             OLD.track, OLD.note, OLD.created_at, OLD.published_at) THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'a published version never changes: notifications refer to it'
        USING ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME;
END
$$;
CREATE TRIGGER content_published_never_changes BEFORE UPDATE OR DELETE ON content_templateversion
    FOR EACH ROW WHEN (OLD.published_at IS NOT NULL) EXECUTE FUNCTION content_published_never_changes()
"""
DROP = """
DROP TRIGGER content_published_never_changes ON content_templateversion;
DROP FUNCTION content_published_never_changes()
"""


class Migration(migrations.Migration):
    """Whatever code or person tries."""

    dependencies = [
        ('content', '0005_copy'),
    ]

    operations = [
        migrations.RunSQL(CREATE, DROP),
    ]
