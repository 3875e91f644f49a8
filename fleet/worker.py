"""The part of a Celery worker that takes up work from the queue, without what this house does not use."""

from celery.worker import consumer

_UNUSED = "celery.worker.consumer.delayed_delivery:DelayedDelivery"


class Consumer(consumer.Consumer):
    """Celery's own, which takes up work as soon as one node of a cluster answers.

    On quorum queues Celery keeps 28 more of them for work that is to be done later, and after a node's death it tries that node
    for 15 s or more before it takes up anything. Here nothing is sent for later: what is due, the schedule asks for.
    """

    class Blueprint(consumer.Consumer.Blueprint):  # type: ignore[misc,valid-type]  # Celery's types are not complete
        default_steps = [step for step in consumer.Consumer.Blueprint.default_steps if step != _UNUSED]
