"""The scheduler's entry of the release repository."""

from django.db import migrations

NAME, TASK, MINUTES = "Releases: keep the repository fresh", "firmware.tasks.renew_repository", 10
ENTRIES = {NAME: (TASK, MINUTES * 60)}


def schedule(apps, schema_editor):
    interval, task = (apps.get_model("django_celery_beat", name) for name in ("IntervalSchedule", "PeriodicTask"))
    every, _ = interval.objects.get_or_create(every=MINUTES, period="minutes")
    task.objects.update_or_create(name=NAME, defaults={"task": TASK, "interval": every, "expire_seconds": MINUTES * 60})


def unschedule(apps, schema_editor):
    apps.get_model("django_celery_beat", "PeriodicTask").objects.filter(name=NAME).delete()


class Migration(migrations.Migration):
    dependencies = [("fleet", "0007_schedule_campaigns")]
    operations = [migrations.RunPython(schedule, unschedule)]
