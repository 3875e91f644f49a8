"""The scheduler's entry that keeps the months of transactions."""

from django.db import migrations

NAME = "Settlement: make and drop monthly partitions"
TASK, SECONDS = "terminals.settlement.tasks.keep_transaction_partitions", 86_400
ENTRIES = {NAME: (TASK, SECONDS)}


def schedule(apps, schema_editor):
    interval, task = (apps.get_model("django_celery_beat", name) for name in ("IntervalSchedule", "PeriodicTask"))
    every, _ = interval.objects.get_or_create(every=SECONDS, period="seconds")
    task.objects.update_or_create(name=NAME, defaults={"task": TASK, "interval": every, "expire_seconds": SECONDS})


def unschedule(apps, schema_editor):
    apps.get_model("django_celery_beat", "PeriodicTask").objects.filter(name=NAME).delete()


class Migration(migrations.Migration):
    dependencies = [("fleet", "0004_schedule_parameters")]
    operations = [migrations.RunPython(schedule, unschedule)]
