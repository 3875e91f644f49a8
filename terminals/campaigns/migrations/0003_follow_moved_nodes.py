"""A campaign stands at the node under which all of its terminals stand: where that node moves in the tree, the campaign follows."""

from django.db import migrations

FOLLOW = """
CREATE FUNCTION campaigns_follow_node() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE campaigns_campaign SET path = NEW.path || substr(path, length(OLD.path) + 1)
     WHERE OLD.path <> '' AND starts_with(path, OLD.path);
    RETURN NULL;
END $$;
"""
NODES = ("organisation", "merchant", "store")
TRIGGERS = "".join(
    f"""
CREATE TRIGGER campaigns_follow AFTER UPDATE ON terminals_{node} FOR EACH ROW
    WHEN (OLD.path IS DISTINCT FROM NEW.path) EXECUTE FUNCTION campaigns_follow_node();
"""
    for node in NODES
)
UNDO = "".join(f"DROP TRIGGER campaigns_follow ON terminals_{node};" for node in NODES)


class Migration(migrations.Migration):
    dependencies = [("campaigns", "0002_failures_and_reasons"), ("terminals", "0004_keep_paths")]
    operations = [
        migrations.RunSQL(FOLLOW, "DROP FUNCTION campaigns_follow_node();"),
        migrations.RunSQL(TRIGGERS, UNDO),
    ]
