"""A trigger that notes where the object of an audit entry stands in the tree, so that whoever audits a part of it finds it."""

from django.db import migrations

PLACE = """
CREATE FUNCTION terminals_place_of(subject text) RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE
    kind text := split_part(subject, ':', 1);
    named text := substr(subject, length(kind) + 2);
    found text;
BEGIN
    IF kind IN ('terminal', 'settlementschedule') THEN
        SELECT path INTO found FROM terminals_terminal WHERE serial = named;
    ELSIF named ~ '^[0-9]{1,18}$' THEN
        CASE kind
            WHEN 'organisation' THEN SELECT path INTO found FROM terminals_organisation WHERE id = named::bigint;
            WHEN 'merchant' THEN SELECT path INTO found FROM terminals_merchant WHERE id = named::bigint;
            WHEN 'store' THEN SELECT path INTO found FROM terminals_store WHERE id = named::bigint;
            ELSE NULL;
        END CASE;
    END IF;
    RETURN coalesce(found, '');
END $$;
CREATE FUNCTION terminals_place_audit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN NEW.place := terminals_place_of(NEW.subject); RETURN NEW; END $$;
CREATE TRIGGER audit_is_placed BEFORE INSERT ON common_auditentry FOR EACH ROW EXECUTE FUNCTION terminals_place_audit();
"""
FORGET = "DROP FUNCTION terminals_place_audit() CASCADE; DROP FUNCTION terminals_place_of(text)"


class Migration(migrations.Migration):
    dependencies = [("terminals", "0004_keep_paths"), ("common", "0004_audit_place")]
    operations = [migrations.RunSQL(PLACE, FORGET)]
