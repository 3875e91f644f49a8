"""Tokens that were made before they had names stay valid, in their new table; and the table of what web processes share for a while."""

from django.core.management import call_command
from django.db import migrations

COPY = """
INSERT INTO access_apitoken (digest, token_key, created, expiry, name, user_id)
SELECT digest, token_key, created, expiry, 'from before names', user_id FROM knox_authtoken
    ON CONFLICT DO NOTHING
"""


def keep_tokens(apps, schema_editor):
    with schema_editor.connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('knox_authtoken') IS NOT NULL")
        if cursor.fetchone()[0]:
            cursor.execute(COPY)
            cursor.execute("DROP TABLE knox_authtoken")


def make_cache_table(apps, schema_editor):
    call_command("createcachetable", verbosity=0, database=schema_editor.connection.alias)


class Migration(migrations.Migration):
    dependencies = [("access", "0001_initial")]
    operations = [
        migrations.RunPython(keep_tokens, migrations.RunPython.noop),
        migrations.RunPython(make_cache_table, migrations.RunPython.noop),
    ]
