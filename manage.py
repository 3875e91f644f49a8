#!/usr/bin/env python
"""Django's command line. `up` and `simulate` make or read their own settings before Django wants them."""

import os
import sys

from fleet import env
from fleet.local import installation as local


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "fleet.settings")
    try:
        if sys.argv[1:2] == ["up"]:
            local.prepare(env.state_dir())
        from django.core.management import execute_from_command_line

        execute_from_command_line(sys.argv)
    except (env.MissingSetting, local.CannotStart) as refusal:
        sys.exit(f"tillwarden: {refusal}")


if __name__ == "__main__":
    main()
