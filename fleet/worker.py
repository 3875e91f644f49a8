"""The part of a Celery worker that takes up work from the queue, without what this house does not use."""

from celery.worker import consumer

_UNUSED = {
    f"celery.worker.consumer.{step}" for step in ("delayed_delivery:DelayedDelivery", "gossip:Gossip", "mingle:Mingle")
}


class Consumer(consumer.Consumer):
    """Celery's own, which takes up work as soon as one node of a RabbitMQ cluster answers.

    Workers need not know each other, and nothing is sent for later: what is due, the schedule asks for. Celery would keep 28 more
    queues for that, and after a node's death try that node for 15 s or more before it takes up anything.
    """

    class Blueprint(consumer.Consumer.Blueprint):  # type: ignore[misc,valid-type]  # Celery's types are not complete
        default_steps = [step for step in consumer.Consumer.Blueprint.default_steps if step not in _UNUSED]
