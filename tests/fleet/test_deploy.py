"""A deployment: Django's own checks find nothing to warn of."""

import os
import secrets
import subprocess
import sys

from django.conf import settings


def test_the_production_settings_have_nothing_to_warn_of() -> None:
    inherited = {
        name: value for name, value in os.environ.items() if name != "DJANGO_ALLOW_ASYNC_UNSAFE"
    }  # Playwright's
    environment = {**inherited, "PUBLIC_URL": "https://tms.example", "SECRET_KEY": secrets.token_urlsafe(60)}
    checked = subprocess.run(
        [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "INFO"],
        env=environment,
        cwd=settings.BASE_DIR,
        capture_output=True,
        text=True,
    )
    assert checked.returncode == 0, checked.stderr
