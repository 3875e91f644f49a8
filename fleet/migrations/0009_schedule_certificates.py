"""The scheduler's entry of certificates."""

from django.db import migrations

NAME = "Certificates: remind terminals to renew, forget keys that ran out"
TASK, SECONDS = "terminals.enrolment.tasks.look_after_certificates", 300
ENTRIES = {NAME: (TASK, SECONDS)}


def schedule(apps, schema_editor):
    interval, task = (apps.get_model("django_celery_beat", name) for name in ("IntervalSchedule", "PeriodicTask"))
    every, _ = interval.objects.get_or_create(every=SECONDS, period="seconds")
    task.objects.update_or_create(name=NAME, defaults={"task": TASK, "interval": every, "expire_seconds": SECONDS})


def unschedule(apps, schema_editor):
    apps.get_model("django_celery_beat", "PeriodicTask").objects.filter(name=NAME).delete()


class Migration(migrations.Migration):
    dependencies = [("fleet", "0008_schedule_release_repository")]
    operations = [migrations.RunPython(schedule, unschedule)]
