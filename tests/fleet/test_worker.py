"""The worker takes up work without waiting for what it does not need."""

from celery.worker import consumer

from fleet.celery import app
from fleet.worker import Consumer


def test_the_worker_keeps_no_queues_for_later_and_all_else_of_celerys_steps() -> None:
    assert app.conf.worker_consumer == "fleet.worker:Consumer"
    left_out = set(consumer.Consumer.Blueprint.default_steps) - set(Consumer.Blueprint.default_steps)
    assert left_out == {"celery.worker.consumer.delayed_delivery:DelayedDelivery"}
