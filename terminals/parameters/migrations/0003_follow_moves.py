"""Whatever moves a terminal in the tree, or makes it another model, lets its parameters be worked out anew."""

from django.db import migrations

FOLLOW = """
CREATE FUNCTION parameters_follow_moves() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO parameters_parametersdue (terminal_id, again)
    SELECT n.id, false FROM new_rows n JOIN old_rows o USING (id)
     WHERE n.path IS DISTINCT FROM o.path OR n.model_id IS DISTINCT FROM o.model_id
     ORDER BY n.id
        ON CONFLICT (terminal_id) DO UPDATE SET again = parameters_parametersdue.again;
    RETURN NULL;
END $$;
CREATE TRIGGER parameters_follow_moves AFTER UPDATE ON terminals_terminal
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION parameters_follow_moves();
"""
UNFOLLOW = """
DROP TRIGGER parameters_follow_moves ON terminals_terminal;
DROP FUNCTION parameters_follow_moves();
"""


class Migration(migrations.Migration):
    dependencies = [("parameters", "0002_templates_and_values"), ("terminals", "0008_replaced_devices")]
    operations = [migrations.RunSQL(FOLLOW, UNFOLLOW)]
