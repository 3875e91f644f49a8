"""The estate: merchants, stores, terminal models and terminals; the audit chain; the ground every feature stands on."""
