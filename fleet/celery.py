"""The Celery application: `celery -A fleet worker` and `celery -A fleet beat`."""

import os

from celery import Celery
from kombu.transport import TRANSPORT_ALIASES

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "fleet.settings")
TRANSPORT_ALIASES["filesystem"] = "fleet.local.queue:Transport"
app = Celery("fleet")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
