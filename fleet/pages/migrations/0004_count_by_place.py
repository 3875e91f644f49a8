"""Statement triggers that note in pages_tallychange what each statement changes of the overview's numbers, and where."""

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
# table -> SELECT place, measure, label, amount
PLACED = {
    "terminals_terminal": "SELECT path::text, 'state', state::text, 1::bigint FROM {rows}",
    "link_deadletter": "SELECT ''::text, 'dead_letter', 'kept', 1::bigint FROM {rows}",
}
EVENTS = {"insert": ["new"], "update": ["new", "old"], "delete": ["old"]}
LATELY = "(SELECT * FROM settlement_settlementrun WHERE finished_at > now() - interval '2 days') AS lately"  # what tallies keep

ABOVE = """
CREATE FUNCTION pages_above(place text) RETURNS SETOF text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT '' UNION ALL
    SELECT left(place, i) FROM generate_series(1, length(place)) AS i WHERE substr(place, i, 1) = '.'
$$
"""


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
    if table in PLACED:
        changes = both(PLACED[table], event, "place")
        return f"INSERT INTO pages_tallychange (place, measure, label, amount) SELECT * FROM ({changes}) AS noted;"
    # Most statements change no number: only what is left is looked up. It is held where it stands until this is committed,
    # so that a terminal that is moved meanwhile takes it along (terminals' migration 0007).
    return f"""
        WITH changes AS MATERIALIZED ({both(OF_TERMINALS[table], event, "terminal_id")}),
        held AS MATERIALIZED (
            SELECT id, path FROM terminals_terminal WHERE id IN (SELECT terminal_id FROM changes) ORDER BY id FOR KEY SHARE
        )
        INSERT INTO pages_tallychange (place, measure, label, amount)
        SELECT coalesce(held.path, ''), measure, label, sum(amount)
          FROM changes LEFT JOIN held ON held.id = changes.terminal_id GROUP BY 1, 2, 3 HAVING sum(amount) <> 0;"""


# Terminals that change their place take their numbers along.
MOVE = """
    IF EXISTS (SELECT FROM new_rows n JOIN old_rows o ON o.id = n.id WHERE n.path <> o.path) THEN
        INSERT INTO pages_tallychange (place, measure, label, amount)
        SELECT side.place, c.measure, c.label, sum(side.sign * c.amount)
          FROM new_rows n JOIN old_rows o ON o.id = n.id AND o.path <> n.path
          JOIN pages_contribution_of_terminals c ON c.terminal_id = n.id
         CROSS JOIN LATERAL (VALUES (n.path::text, 1), (o.path::text, -1)) AS side(place, sign)
         GROUP BY 1, 2, 3 HAVING sum(side.sign * c.amount) <> 0;
    END IF;
"""


def views():
    of_terminals = " UNION ALL ".join(
        f"SELECT * FROM ({select.format(rows=LATELY if table == 'settlement_settlementrun' else table)})"
        f" AS {table}_(terminal_id, measure, label, amount)"
        for table, select in OF_TERMINALS.items()
    )
    placed = " UNION ALL ".join(select.format(rows=table) for table, select in PLACED.items())
    yield (
        f"CREATE VIEW pages_contribution_of_terminals (terminal_id, measure, label, amount) AS {of_terminals}",
        "DROP VIEW pages_contribution_of_terminals",
    )
    yield (
        f"""CREATE VIEW pages_contribution (place, measure, label, amount) AS
            SELECT t.path::text, c.measure, c.label, c.amount FROM pages_contribution_of_terminals c
              JOIN terminals_terminal t ON t.id = c.terminal_id
            UNION ALL {placed}""",
        "DROP VIEW pages_contribution",
    )


def triggers():
    for table in (*OF_TERMINALS, *PLACED):
        for event, sides in EVENTS.items():
            name = f"tally_{table}_{event}"
            move = MOVE if (table, event) == ("terminals_terminal", "update") else ""
            referencing = " ".join(f"{side.upper()} TABLE AS {side}_rows" for side in sides)
            yield (
                f"""DROP FUNCTION {name}() CASCADE;
                CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                {noting(table, event)} {move} RETURN NULL; END $$;
                CREATE TRIGGER {name} AFTER {event.upper()} ON {table} REFERENCING {referencing}
                    FOR EACH STATEMENT EXECUTE FUNCTION {name}()""",
                migrations.RunSQL.noop,
            )


COUNT = """
INSERT INTO pages_tally (place, measure, label, amount)
SELECT a.place, c.measure, c.label, sum(c.amount)
  FROM pages_contribution c CROSS JOIN LATERAL pages_above(c.place) AS a(place)
 GROUP BY a.place, c.measure, c.label HAVING sum(c.amount) <> 0
"""


class Migration(migrations.Migration):
    dependencies = [("pages", "0003_tallies_by_place"), ("terminals", "0004_keep_paths")]
    operations = [
        migrations.RunSQL(ABOVE, "DROP FUNCTION pages_above(text)"),
        *(migrations.RunSQL(forwards, backwards) for forwards, backwards in (*views(), *triggers())),
        migrations.RunSQL(COUNT, migrations.RunSQL.noop),
    ]
