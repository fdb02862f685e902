"""The web process: refuses what the system checks refuse, and warms the broker connection's imports before the first order."""

import atexit
import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
os.environ["SAGA_PROCESS"] = "web"
django.setup(set_prefix=False)

from django.core.signals import request_finished, request_started

from config.celery import app
from config.checks import refuse_to_start
from config.edge.handler import Edge
from fulfillment.code_release import RELEASE
from orders.connections import start_clean
from orders.process_registration import Registration

application = Edge()
registration = Registration.of_role("web", RELEASE)
registration.begin()
refuse_to_start("web")
registration.watch()
atexit.register(registration.end)  # not reached by a worker that gunicorn kills
for begins_or_ends in (request_started, request_finished):
    begins_or_ends.connect(lambda **_: start_clean(), weak=False, dispatch_uid="orders.connections")
app.connection_for_write().transport_cls  # noqa: B018  (the first publish of a process would pay 0.1 to 0.8 s of imports)
