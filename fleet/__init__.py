"""The Django project: wiring and the operator's overview; no domain rule lives here."""
