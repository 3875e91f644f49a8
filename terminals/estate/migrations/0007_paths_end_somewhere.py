"""A tree is not deeper than a path can say; and who moves a terminal waits for those who note something of it where it stands."""

from django.db import migrations

CHECK = """
CREATE FUNCTION terminals_path_fits() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF length(NEW.path) > 190 THEN
        RAISE EXCEPTION 'the tree would be too deep' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
"""
# After `path_of_...` by name: triggers of one kind fire in the order of their names.
FITS = """
CREATE TRIGGER path_of_{node}_fits BEFORE INSERT OR UPDATE ON terminals_{node}
    FOR EACH ROW EXECUTE FUNCTION terminals_path_fits();
"""
# KEY SHARE is what a foreign key's insert takes, and what the overview's triggers take before they read the path.
WAIT = """
CREATE FUNCTION terminals_wait_for_notes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM FROM terminals_terminal WHERE id = NEW.id FOR UPDATE; RETURN NEW; END $$;
CREATE TRIGGER path_waits BEFORE UPDATE ON terminals_terminal FOR EACH ROW
    WHEN (OLD.store_id <> NEW.store_id OR OLD.path <> NEW.path) EXECUTE FUNCTION terminals_wait_for_notes();
"""


class Migration(migrations.Migration):
    dependencies = [("terminals", "0006_groups")]
    operations = [
        migrations.RunSQL(CHECK, "DROP FUNCTION terminals_path_fits() CASCADE"),
        *(
            migrations.RunSQL(FITS.format(node=node), migrations.RunSQL.noop)
            for node in ("organisation", "merchant", "store")
        ),
        migrations.RunSQL(WAIT, "DROP FUNCTION terminals_wait_for_notes() CASCADE"),
    ]
