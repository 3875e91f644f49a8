"""The rows of this room, gathered for Django."""

from terminals.common.api.models import IdempotentResponse
from terminals.common.audit.models import AuditEntry, AuditSeal, UnsealedEntry
from terminals.common.facts.models import Fact

__all__ = ["AuditEntry", "AuditSeal", "Fact", "IdempotentResponse", "UnsealedEntry"]
