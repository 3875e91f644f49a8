"""Most statements on sessions and readings change no number of the overview: they are asked that first.

EXCEPT compares all rows of a statement in one pass over a hash; what the triggers did with each row cost more than the update.
"""

from django.db import migrations

COUNTED = {"link_devicesession": "online, locked", "health_healthstate": "printer, screen, keypad, card_reader"}
# Raw: triggers. The function's body stays what migration 0004 made it, behind the question.
GUARD = """
DO $$
DECLARE body text;
BEGIN
    SELECT prosrc INTO STRICT body FROM pg_proc WHERE proname = 'tally_{table}_update';
    EXECUTE format('CREATE OR REPLACE FUNCTION tally_{table}_update() RETURNS trigger LANGUAGE plpgsql AS %L',
        regexp_replace(body, 'BEGIN', 'BEGIN
        IF NOT EXISTS (SELECT terminal_id, {columns} FROM new_rows EXCEPT SELECT terminal_id, {columns} FROM old_rows) THEN
            RETURN NULL;
        END IF;'));
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [("pages", "0006_software_of_days"), ("link", "0006_remember_by_day"), ("health", "0003_samples_by_day")]
    operations = [
        migrations.RunSQL(GUARD.format(table=table, columns=columns), migrations.RunSQL.noop)
        for table, columns in COUNTED.items()
    ]
