"""The scheduler's entries that read credit files, look after credits, and make reports."""

from django.db import migrations

ENTRIES = {
    "Settlement: read credit files, watch credits": ("terminals.settlement.tasks.work_on_credits", 2),
    "Settlement: make and send reports": ("terminals.settlement.tasks.make_reports", 3),
    "Settlement: look at settled batches for risk": ("terminals.settlement.tasks.look_for_risk", 5),
    "Settlement: credits for terminals that were unknown": ("terminals.settlement.tasks.match_late_credits", 300),
}


def schedule(apps, schema_editor):
    interval, task = (apps.get_model("django_celery_beat", name) for name in ("IntervalSchedule", "PeriodicTask"))
    for name, (path, seconds) in ENTRIES.items():
        every, _ = interval.objects.get_or_create(every=seconds, period="seconds")
        task.objects.update_or_create(
            name=name, defaults={"task": path, "interval": every, "expire_seconds": max(seconds, 10)}
        )


def unschedule(apps, schema_editor):
    apps.get_model("django_celery_beat", "PeriodicTask").objects.filter(name__in=ENTRIES).delete()


class Migration(migrations.Migration):
    dependencies = [("fleet", "0005_schedule_partitions")]
    operations = [migrations.RunPython(schedule, unschedule)]
