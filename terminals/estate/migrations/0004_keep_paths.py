"""Triggers that keep each node's and each terminal's path in the tree, whoever writes the row or moves a node above it."""

from django.db import migrations

# table -> (the letter of its nodes, the table of its parents, the column that names the parent)
NODES = {
    "organisation": ("o", "organisation", "parent_id"),
    "merchant": ("m", "organisation", "organisation_id"),
    "store": ("s", "merchant", "merchant_id"),
    "terminal": ("", "store", "store_id"),  # a terminal's path is its store's
}
CIRCLE = """
        IF TG_OP = 'UPDATE' AND OLD.path <> '' AND starts_with(NEW.path, OLD.path) THEN
            RAISE EXCEPTION 'an organisation cannot stand below itself' USING ERRCODE = 'check_violation';
        END IF;
"""


def set_path(node, letter, parent, column):
    """A row that is saved keeps its path, whatever old one it carries; where it gets a parent, that one's path is held
    until the transaction ends, so that nobody can move the parent meanwhile."""
    own = f"'{letter}' || NEW.id || '.'" if letter else "''"
    # Two organisations moved at once must not end up below each other.
    alone = "PERFORM pg_advisory_xact_lock(hashtextextended('terminals_organisation', 0));" if node == parent else ""
    return f"""
    CREATE FUNCTION terminals_path_of_{node}() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE above text;
    BEGIN
        IF TG_OP = 'UPDATE' AND NEW.{column} IS NOT DISTINCT FROM OLD.{column} THEN
            IF pg_trigger_depth() = 1 THEN NEW.path := OLD.path; END IF;  -- deeper: handed down from above
            RETURN NEW;
        END IF;
        {alone}
        SELECT path INTO above FROM terminals_{parent} WHERE id = NEW.{column} FOR SHARE;
        NEW.path := coalesce(above, '') || {own};
        {CIRCLE if node == parent else ""}
        RETURN NEW;
    END $$;
    CREATE TRIGGER path_of_{node} BEFORE INSERT OR UPDATE ON terminals_{node}
        FOR EACH ROW EXECUTE FUNCTION terminals_path_of_{node}();
    """


def hand_down(node):
    """Whatever stands right below a node that moved gets a new path; what is deeper by this very trigger."""
    below = [(child, letter, column) for child, (letter, parent, column) in NODES.items() if parent == node]
    moves = " ".join(
        f"UPDATE terminals_{child} SET path = NEW.path"
        + (f" || '{letter}' || id || '.'" if letter else "")
        + f" WHERE {column} = NEW.id;"
        for child, letter, column in below
    )
    return f"""
    CREATE FUNCTION terminals_hand_down_{node}() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN {moves} RETURN NULL; END $$;
    CREATE TRIGGER hand_down_{node} AFTER UPDATE ON terminals_{node} FOR EACH ROW
        WHEN (OLD.path IS DISTINCT FROM NEW.path) EXECUTE FUNCTION terminals_hand_down_{node}();
    """


def statements():
    for node, (letter, parent, column) in NODES.items():
        yield set_path(node, letter, parent, column), f"DROP FUNCTION terminals_path_of_{node}() CASCADE"
        if letter:
            yield hand_down(node), f"DROP FUNCTION terminals_hand_down_{node}() CASCADE"


# What stood there before there were organisations.
FIRST_PATHS = """
ALTER TABLE terminals_merchant DISABLE TRIGGER USER;
ALTER TABLE terminals_store DISABLE TRIGGER USER;
UPDATE terminals_merchant SET path = 'm' || id || '.';
UPDATE terminals_store s SET path = m.path || 's' || s.id || '.' FROM terminals_merchant m WHERE m.id = s.merchant_id;
ALTER TABLE terminals_terminal DISABLE TRIGGER USER;
UPDATE terminals_terminal t SET path = s.path FROM terminals_store s WHERE s.id = t.store_id;
ALTER TABLE terminals_merchant ENABLE TRIGGER USER;
ALTER TABLE terminals_store ENABLE TRIGGER USER;
ALTER TABLE terminals_terminal ENABLE TRIGGER USER;
"""


class Migration(migrations.Migration):
    dependencies = [("terminals", "0003_organisations_and_memberships")]
    operations = [
        *(migrations.RunSQL(forwards, backwards) for forwards, backwards in statements()),
        migrations.RunSQL(FIRST_PATHS, migrations.RunSQL.noop),
    ]
