"""The device link: topics, typed messages, signatures, the inbox and the outbox. The only place that speaks MQTT."""
