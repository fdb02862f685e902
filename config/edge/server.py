"""gunicorn's settings: ``gunicorn -c python:config.edge.server config.wsgi``. How many processes and threads there are, and where they listen, is said there."""

import os
import sys

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
os.environ["SAGA_PROCESS"] = "web"
try:
    logconfig_dict = settings.LOGGING
except ImproperlyConfigured as wrong:
    sys.exit(f"Refused to start: {wrong}")

worker_class = "config.edge.worker.Worker"
worker_connections = 500  # of one process; each holds 0.5 MB at most of what it has received
keepalive = 30  # seconds
limit_request_line = 8190
limit_request_fields = 64
limit_request_field_size = 8190
# A proxy on this machine is trusted with the scheme, and with nothing else: SCRIPT_NAME of a stranger was an error of ours.
forwarder_headers = ""
