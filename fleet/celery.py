"""The Celery application: `celery -A fleet worker` and `celery -A fleet beat`."""

import os
from typing import Any

from celery import Celery
from celery.signals import worker_init
from kombu.transport import TRANSPORT_ALIASES

from terminals.common.tracing import traces

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "fleet.settings")
TRANSPORT_ALIASES["filesystem"] = "fleet.local.queue:Transport"
app = Celery("fleet")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@worker_init.connect
def trace_worker(**_: Any) -> None:
    traces.start("worker")
