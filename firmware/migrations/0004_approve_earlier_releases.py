"""Releases from before there was an approval stay what terminals may be sent."""

from django.db import migrations
from django.db.models import F

BEFORE = "published before approval was asked"  # no operator is called so: names have no space


def approve(apps, schema_editor):
    releases = apps.get_model("firmware", "Release").objects.filter(state="draft")
    releases.update(state="approved", approved_by=BEFORE, approved_at=F("created_at"))


class Migration(migrations.Migration):
    dependencies = [("firmware", "0003_release_life")]
    operations = [migrations.RunPython(approve, migrations.RunPython.noop)]
