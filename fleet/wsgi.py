"""The web part's entry point: `gunicorn fleet.wsgi`."""

import os

from django.core.wsgi import get_wsgi_application

from terminals.common.tracing import traces

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "fleet.settings")
application = get_wsgi_application()
traces.start("web")
