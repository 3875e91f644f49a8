"""A pytest plugin: the real services, started once for a run. It is loaded before Django reads its settings."""

from tests import services

services.start(durable=False)
