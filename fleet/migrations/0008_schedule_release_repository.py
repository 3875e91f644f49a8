"""The scheduler's entries of releases: the repository stays fresh, deltas are made."""

from django.db import migrations

ENTRIES = {
    "Releases: keep the repository fresh": ("firmware.tasks.renew_repository", 600),
    "Releases: make deltas": ("firmware.tasks.make_deltas", 60),
    "Software: note which versions run": ("fleet.pages.tasks.note_software", 3600),
}


def schedule(apps, schema_editor):
    interval, task = (apps.get_model("django_celery_beat", name) for name in ("IntervalSchedule", "PeriodicTask"))
    for name, (path, seconds) in ENTRIES.items():
        every, _ = interval.objects.get_or_create(every=seconds, period="seconds")
        task.objects.update_or_create(name=name, defaults={"task": path, "interval": every, "expire_seconds": seconds})


def unschedule(apps, schema_editor):
    apps.get_model("django_celery_beat", "PeriodicTask").objects.filter(name__in=ENTRIES).delete()


class Migration(migrations.Migration):
    dependencies = [("fleet", "0007_schedule_campaigns")]
    operations = [migrations.RunPython(schedule, unschedule)]
