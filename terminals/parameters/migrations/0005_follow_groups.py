"""Whoever comes into a group or leaves it, and whoever is in one that is renamed (groups count by their names), is worked out anew."""

from django.db import migrations


def follow(name, table, event, tables, terminals):
    return f"""
CREATE FUNCTION parameters_follow_{name}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO parameters_parametersdue (terminal_id, again)
    SELECT DISTINCT t.id, false FROM ({terminals}) AS c(id) JOIN terminals_terminal t USING (id) ORDER BY t.id
        ON CONFLICT (terminal_id) DO UPDATE SET again = parameters_parametersdue.again;
    RETURN NULL;
END $$;
CREATE TRIGGER parameters_follow_{name} AFTER {event} ON {table} REFERENCING {tables}
    FOR EACH STATEMENT EXECUTE FUNCTION parameters_follow_{name}();
"""


MEMBERS = "terminals_terminalgroup_members"
RENAMED = """SELECT m.terminal_id FROM new_rows n JOIN old_rows o USING (id)
    JOIN terminals_terminalgroup_members m ON m.terminalgroup_id = n.id WHERE n.name <> o.name"""
TRIGGERS = {
    "joined": (MEMBERS, "INSERT", "NEW TABLE AS new_rows", "SELECT terminal_id FROM new_rows"),
    "left": (MEMBERS, "DELETE", "OLD TABLE AS old_rows", "SELECT terminal_id FROM old_rows"),
    "renamed": ("terminals_terminalgroup", "UPDATE", "OLD TABLE AS old_rows NEW TABLE AS new_rows", RENAMED),
}


class Migration(migrations.Migration):
    dependencies = [("parameters", "0004_mended_at"), ("terminals", "0008_replaced_devices")]
    operations = [
        migrations.RunSQL(
            follow(name, *told),
            f"DROP TRIGGER parameters_follow_{name} ON {told[0]}; DROP FUNCTION parameters_follow_{name}();",
        )
        for name, told in TRIGGERS.items()
    ]
