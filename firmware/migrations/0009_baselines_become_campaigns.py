"""Baselines go: campaigns that follow take their place. Two persons answer for a campaign, so none can be made here: the baselines
that there were are printed, for somebody to propose."""

from typing import Any

from django.db import migrations


def name_them(apps: Any, schema_editor: Any) -> None:
    for one in apps.get_model("firmware", "Baseline").objects.select_related("model", "release__package"):
        release = f"{one.release.package.name} {one.release.version} ({one.release.platform})"
        print(
            f'\n  The baseline of {one.model.vendor} {one.model.name} was {release}. Propose a campaign that moves it to '
            f'model = "{one.model.name}" and follows: nothing is sent by itself before.'
        )


class Migration(migrations.Migration):
    dependencies = [("firmware", "0008_ddi"), ("campaigns", "0005_following")]
    operations = [
        migrations.RunPython(name_them, migrations.RunPython.noop),
        migrations.DeleteModel(name="Baseline"),
    ]
