"""A dead letter keeps the refusal's template and values, so that it is told in the reader's language."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("link", "0001_initial")]
    operations = [
        migrations.RenameField("deadletter", "detail", "template"),
        migrations.AlterField(
            "deadletter",
            "template",
            models.CharField(max_length=500, help_text="The refusal's sentence, with names where its values go"),
        ),
        migrations.AddField("deadletter", "values", models.JSONField(default=dict)),
    ]
