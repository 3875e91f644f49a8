"""The worker takes up work without waiting for what it does not need."""

from celery.worker import consumer

from fleet.celery import app
from fleet.worker import Consumer


def test_a_worker_keeps_no_queue_beside_the_one_for_work_and_all_else_of_celerys_steps() -> None:
    assert app.conf.worker_consumer == "fleet.worker:Consumer"
    assert app.conf.worker_enable_remote_control is False
    left_out = set(consumer.Consumer.Blueprint.default_steps) - set(Consumer.Blueprint.default_steps)
    assert {step.rpartition(":")[2] for step in left_out} == {"DelayedDelivery", "Gossip", "Mingle"}
