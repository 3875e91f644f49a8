"""Statement triggers that note in pages_tally what each statement changes of the overview's numbers."""

from django.db import migrations

# When a run ended, to the quarter of an hour: every time zone's day begins at one.
QUARTER = "to_char(date_bin('15 minutes', finished_at, timestamptz '2000-01-01Z') AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI')"
# table -> SELECT measure, label, amount of the rows in {rows}
CONTRIBUTIONS = {
    "terminals_terminal": "SELECT 'state', state::text, 1::bigint FROM {rows}",
    "link_devicesession": """
        SELECT v.* FROM {rows} r CROSS JOIN LATERAL (VALUES
            ('online', r.online::text, 1::bigint), ('locked', r.locked::text, 1)) AS v""",
    "health_healthstate": """
        SELECT v.* FROM {rows} r CROSS JOIN LATERAL (VALUES
            ('printer', r.printer::text, 1::bigint), ('screen', r.screen, 1), ('keypad', r.keypad, 1),
            ('card_reader', r.card_reader, 1)) AS v""",
    "health_tamperalarm": "SELECT 'tamper', active::text, 1::bigint FROM {rows}",
    "keys_terminalkey": "SELECT 'key', state::text, 1::bigint FROM {rows} WHERE state IN ('mismatch', 'failed')",
    "link_deadletter": "SELECT 'dead_letter', 'kept', 1::bigint FROM {rows}",
    "settlement_batch": "SELECT 'unsettled', currency, net_minor FROM {rows} WHERE NOT closed",
    "firmware_installedsoftware": "SELECT 'software', component || ' ' || version, 1::bigint FROM {rows}",
    "settlement_settlementrun": f"""
        SELECT 'settled', {QUARTER} || ' ' || state, 1::bigint
          FROM {{rows}} WHERE finished_at IS NOT NULL
        UNION ALL
        SELECT 'settled_sum', {QUARTER} || ' ' || currency, reported_minor
          FROM {{rows}} WHERE finished_at IS NOT NULL AND reported_minor IS NOT NULL
        UNION ALL
        SELECT 'unreconciled', {QUARTER} || ' ' || currency, abs(difference_minor)
          FROM {{rows}} WHERE state = 'unbalanced' AND difference_minor IS NOT NULL""",
}
EVENTS = {"insert": ["new"], "update": ["new", "old"], "delete": ["old"]}


def statements():
    for table, select in CONTRIBUTIONS.items():
        for event, sides in EVENTS.items():
            name = f"tally_{table}_{event}"
            parts = []
            if "new" in sides:
                parts.append(f"SELECT * FROM ({select.format(rows='new_rows')}) AS gained(measure, label, amount)")
            if "old" in sides:
                parts.append(
                    f"SELECT measure, label, -amount FROM ({select.format(rows='old_rows')}) AS lost(measure, label, amount)"
                )
            referencing = " ".join(f"{side.upper()} TABLE AS {side}_rows" for side in sides)
            yield (
                f"""CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                INSERT INTO pages_tally (measure, label, amount)
                SELECT measure, label, sum(amount) FROM ({' UNION ALL '.join(parts)}) AS change(measure, label, amount)
                 GROUP BY measure, label HAVING sum(amount) <> 0;
                RETURN NULL; END $$""",
                f"DROP FUNCTION {name}() CASCADE",
            )
            yield (
                f"CREATE TRIGGER {name} AFTER {event.upper()} ON {table} REFERENCING {referencing}"
                f" FOR EACH STATEMENT EXECUTE FUNCTION {name}()",
                migrations.RunSQL.noop,
            )


class Migration(migrations.Migration):
    dependencies = [
        ("pages", "0001_initial"),
        ("terminals", "0001_initial"),
        ("link", "0001_initial"),
        ("keys", "0001_initial"),
        ("health", "0001_initial"),
        ("settlement", "0001_initial"),
        ("firmware", "0001_initial"),
    ]
    operations = [migrations.RunSQL(forwards, backwards) for forwards, backwards in statements()]
