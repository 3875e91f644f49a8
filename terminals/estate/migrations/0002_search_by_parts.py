"""Trigrams for search by a part of a name: the embedded PostgreSQL has no pg_trgm."""

from django.db import migrations

FUNCTION = """
CREATE FUNCTION terminals_trigrams(value text) RETURNS text[] LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT coalesce(array_agg(DISTINCT substr(upper(value), i, 3)), '{}') FROM generate_series(1, length(value) - 2) AS i
$$
"""
INDEXES = {
    "terminal_serial_parts": "terminals_terminal USING gin (terminals_trigrams(serial))",
    "terminal_tid_prefix": "terminals_terminal (upper(tid) text_pattern_ops) WHERE tid <> ''",
    "terminal_by_registration": "terminals_terminal (registered_at, id)",
    "store_name_parts": "terminals_store USING gin (terminals_trigrams(name))",
}


class Migration(migrations.Migration):
    dependencies = [("terminals", "0001_initial")]
    operations = [
        migrations.RunSQL(FUNCTION, "DROP FUNCTION terminals_trigrams"),
        *(
            migrations.RunSQL(f"CREATE INDEX {name} ON {what}", f"DROP INDEX {name}")
            for name, what in INDEXES.items()
        ),
    ]
