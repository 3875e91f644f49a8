"""The scheduler's entry of campaigns."""

from django.db import migrations

NAME, TASK, SECONDS = "Campaigns: whose turn it is, and whose guard holds", "terminals.campaigns.tasks.run_campaigns", 3
ENTRIES = {NAME: (TASK, SECONDS)}


def schedule(apps, schema_editor):
    interval, task = (apps.get_model("django_celery_beat", name) for name in ("IntervalSchedule", "PeriodicTask"))
    every, _ = interval.objects.get_or_create(every=SECONDS, period="seconds")
    task.objects.update_or_create(name=NAME, defaults={"task": TASK, "interval": every, "expire_seconds": SECONDS})


def unschedule(apps, schema_editor):
    apps.get_model("django_celery_beat", "PeriodicTask").objects.filter(name=NAME).delete()


class Migration(migrations.Migration):
    dependencies = [("fleet", "0006_schedule_credits_and_reports")]
    operations = [migrations.RunPython(schedule, unschedule)]
