"""The estate: merchants, stores, terminal models and terminals; the ground every feature stands on."""
