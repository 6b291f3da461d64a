from django.db import migrations

# The unique constraint takes two nulls for the same, so a second run finds the row of the first.
SYSTEM = """
INSERT INTO preferences_preferencedefaults
    (organization_id, hours, quiet, daily_at, weekly_day, weekly_at, cap_per_hour, choices, updated_at)
VALUES (NULL, '[]', '[]', '08:00', 0, '08:00', NULL, '{}', carillon_now())
ON CONFLICT DO NOTHING
"""


class Migration(migrations.Migration):
    """What holds for everybody who has not chosen.

    Everybody who is there already gets it by this one row: a person without rows of their own has the defaults,
    so nothing is written for a million people. A row that an operator has made already stays as it is. To go
    back leaves it: older code does not read it.
    """

    dependencies = [
        ('preferences', '0004_choices'),
    ]

    operations = [migrations.RunSQL(SYSTEM, migrations.RunSQL.noop)]
