"""The entries of django-celery-beat: one for each kind of work, none for a terminal."""

from django.db import migrations

# name -> (task, every seconds)
ENTRIES = {
    "Link: expire commands, sweep silent terminals": ("terminals.link.tasks.tick", 5),
    "Settlement: ask due terminals to settle": ("terminals.settlement.tasks.settle_due", 5),
    "Overview: fold tallies": ("fleet.pages.tasks.fold_tallies", 15),
    "Link: forget old message ids and dead letters": ("terminals.link.tasks.prune_link", 300),
    "Health: prune history": ("terminals.health.tasks.prune_health_history", 300),
    "Audit: seal new entries into the chain": ("terminals.common.tasks.seal_audit", 1),
    "Audit: sign an anchor": ("terminals.common.tasks.anchor_audit", 60),
    "Facts: make and drop monthly partitions": ("terminals.common.tasks.keep_fact_partitions", 86_400),
    "API: forget answers to idempotent requests": ("terminals.common.tasks.forget_idempotent_responses", 3600),
}


def schedule(apps, schema_editor):
    interval, task = (apps.get_model("django_celery_beat", name) for name in ("IntervalSchedule", "PeriodicTask"))
    for name, (path, seconds) in ENTRIES.items():
        every, _ = interval.objects.get_or_create(every=seconds, period="seconds")
        # An entry that waited longer than its interval is dropped: the next one does the same work.
        task.objects.update_or_create(name=name, defaults={"task": path, "interval": every, "expire_seconds": seconds})


def unschedule(apps, schema_editor):
    apps.get_model("django_celery_beat", "PeriodicTask").objects.filter(name__in=ENTRIES).delete()


class Migration(migrations.Migration):
    dependencies = [("django_celery_beat", "0019_alter_periodictasks_options")]
    operations = [migrations.RunPython(schedule, unschedule)]
