"""The scheduler's entry of what the link forgets says that commands are among it."""

from django.db import migrations

BEFORE, NAME = "Link: forget old message ids and dead letters", "Link: forget old message ids, commands and dead letters"
ENTRIES = {NAME: ("terminals.link.tasks.prune_link", 300)}


def rename(apps, schema_editor):
    apps.get_model("django_celery_beat", "PeriodicTask").objects.filter(name=BEFORE).update(name=NAME)


def back(apps, schema_editor):
    apps.get_model("django_celery_beat", "PeriodicTask").objects.filter(name=NAME).update(name=BEFORE)


class Migration(migrations.Migration):
    dependencies = [("fleet", "0009_schedule_certificates")]
    operations = [migrations.RunPython(rename, back)]
