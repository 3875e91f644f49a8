"""The triggers of 0004 once more: terminals are held where they stand until what is noted of them is committed, so that one
that is moved meanwhile takes that along (terminals' migration 0007)."""

from django.db import migrations

# When a run ended, to the quarter of an hour: every time zone's day begins at one.
QUARTER = "to_char(date_bin('15 minutes', finished_at, timestamptz '2000-01-01Z') AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI')"
# table -> SELECT terminal_id, measure, label, amount of the rows in {rows}
OF_TERMINALS = {
    "link_devicesession": """
        SELECT r.terminal_id, v.* FROM {rows} r CROSS JOIN LATERAL (VALUES
            ('online', r.online::text, 1::bigint), ('locked', r.locked::text, 1)) AS v""",
    "health_healthstate": """
        SELECT r.terminal_id, v.* FROM {rows} r CROSS JOIN LATERAL (VALUES
            ('printer', r.printer::text, 1::bigint), ('screen', r.screen, 1), ('keypad', r.keypad, 1),
            ('card_reader', r.card_reader, 1)) AS v""",
    "health_tamperalarm": "SELECT terminal_id, 'tamper', active::text, 1::bigint FROM {rows}",
    "keys_terminalkey": "SELECT terminal_id, 'key', state::text, 1::bigint FROM {rows} WHERE state IN ('mismatch', 'failed')",
    "settlement_batch": "SELECT terminal_id, 'unsettled', currency, net_minor FROM {rows} WHERE NOT closed",
    "firmware_installedsoftware": "SELECT terminal_id, 'software', component || ' ' || version, 1::bigint FROM {rows}",
    "settlement_settlementrun": f"""
        SELECT terminal_id, 'settled', {QUARTER} || ' ' || state, 1::bigint
          FROM {{rows}} WHERE finished_at IS NOT NULL
        UNION ALL
        SELECT terminal_id, 'settled_sum', {QUARTER} || ' ' || currency, reported_minor
          FROM {{rows}} WHERE finished_at IS NOT NULL AND reported_minor IS NOT NULL
        UNION ALL
        SELECT terminal_id, 'unreconciled', {QUARTER} || ' ' || currency, abs(difference_minor)
          FROM {{rows}} WHERE state = 'unbalanced' AND difference_minor IS NOT NULL""",
}
EVENTS = {"insert": ["new"], "update": ["new", "old"], "delete": ["old"]}



def both(select, event, key):
    """Return what a statement's rows contribute now, less what they did before, by key."""
    signs = {"new": "", "old": "-"}
    parts = [
        f"SELECT {key}, measure, label, {signs[side]}amount AS amount"
        f" FROM ({select.format(rows=side + '_rows')}) AS {side}_({key}, measure, label, amount)"
        for side in EVENTS[event]
    ]
    grouped = "GROUP BY 1, 2, 3 HAVING sum(amount) <> 0"
    return f"SELECT {key}, measure, label, sum(amount) AS amount FROM ({' UNION ALL '.join(parts)}) AS both_ {grouped}"


def noting(table, event):
    """Most statements change no number: only what is left is looked up and held."""
    return f"""
        WITH changes AS MATERIALIZED ({both(OF_TERMINALS[table], event, "terminal_id")}),
        held AS MATERIALIZED (
            SELECT id, path FROM terminals_terminal WHERE id IN (SELECT terminal_id FROM changes) ORDER BY id FOR KEY SHARE
        )
        INSERT INTO pages_tallychange (place, measure, label, amount)
        SELECT coalesce(held.path, ''), measure, label, sum(amount)
          FROM changes LEFT JOIN held ON held.id = changes.terminal_id GROUP BY 1, 2, 3 HAVING sum(amount) <> 0;"""


def functions():
    for table in OF_TERMINALS:
        for event in EVENTS:
            yield f"""
                CREATE OR REPLACE FUNCTION tally_{table}_{event}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                {noting(table, event)} RETURN NULL; END $$"""


class Migration(migrations.Migration):
    dependencies = [("pages", "0004_count_by_place"), ("terminals", "0007_paths_end_somewhere")]
    operations = [migrations.RunSQL(forwards, migrations.RunSQL.noop) for forwards in functions()]
