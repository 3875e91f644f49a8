"""The audit only grows: the database itself refuses to change, delete or truncate entries and seals.

A new entry is noted for the sealer by a trigger, so that no way of writing one can forget it.
"""

from django.db import migrations

REFUSE = """
CREATE FUNCTION refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'audit entries are never changed or deleted'; END $$;
CREATE TRIGGER audit_only_grows BEFORE UPDATE OR DELETE ON common_auditentry
    FOR EACH ROW EXECUTE FUNCTION refuse_audit_change();
CREATE TRIGGER audit_is_not_emptied BEFORE TRUNCATE ON common_auditentry EXECUTE FUNCTION refuse_audit_change();
CREATE TRIGGER seals_only_grow BEFORE UPDATE OR DELETE ON common_auditseal
    FOR EACH ROW EXECUTE FUNCTION refuse_audit_change();
CREATE TRIGGER seals_are_not_emptied BEFORE TRUNCATE ON common_auditseal EXECUTE FUNCTION refuse_audit_change();
CREATE FUNCTION note_unsealed_entries() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO common_unsealedentry (entry_id) SELECT id FROM written; RETURN NULL; END $$;
CREATE TRIGGER audit_waits_for_its_seal AFTER INSERT ON common_auditentry REFERENCING NEW TABLE AS written
    FOR EACH STATEMENT EXECUTE FUNCTION note_unsealed_entries();
"""
ALLOW = "DROP FUNCTION refuse_audit_change() CASCADE; DROP FUNCTION note_unsealed_entries() CASCADE"


class Migration(migrations.Migration):
    dependencies = [("common", "0002_partition_facts")]
    operations = [migrations.RunSQL(REFUSE, ALLOW)]
