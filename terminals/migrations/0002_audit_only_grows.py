"""The audit chain only grows: the database itself refuses to change or delete an entry."""

from django.db import migrations

REFUSE = """
CREATE FUNCTION refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'audit entries are never changed or deleted'; END $$;
CREATE TRIGGER audit_only_grows BEFORE UPDATE OR DELETE ON terminals_auditentry
    FOR EACH ROW EXECUTE FUNCTION refuse_audit_change();
"""
ALLOW = "DROP FUNCTION refuse_audit_change() CASCADE"


class Migration(migrations.Migration):
    dependencies = [("terminals", "0001_initial")]
    operations = [migrations.RunSQL(REFUSE, ALLOW)]
