"""Typed client of the Tillwarden API: `Tillwarden(url, token)` has a resource for each address under `/api/v1/`."""

from tillwarden_client.api import Tillwarden
from tillwarden_client.transport import Problem

__all__ = ["Problem", "Tillwarden"]
