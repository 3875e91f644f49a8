"""Payment software: packages, signed releases, and their way onto terminals."""
