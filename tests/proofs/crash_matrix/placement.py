"""One order, placed by the shop's own code in a process of its own, which may die at any line of it.

Imported by a fork server, so that such a process costs milliseconds: importing this module sets Django up.
"""

import multiprocessing
import os
import uuid
from multiprocessing.process import BaseProcess
from typing import Any

import django

django.setup()

from django.conf import settings  # noqa: E402
from django.contrib.auth.models import User  # noqa: E402
from django.db import connection  # noqa: E402

from fulfillment.gateways import ROLES  # noqa: E402
from orders.api import placing  # noqa: E402
from orders.api.serializers import RequestedOrder  # noqa: E402
from orders.management.commands.seed import CLIENT  # noqa: E402
from orders.named_sql import NamedSql  # noqa: E402
from orders.numbers import NEXT_NUMBER  # noqa: E402

_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload([__name__])


def next_number() -> str:
    """Drawn before the order exists, so that its boundary and its fault can be armed first."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {NEXT_NUMBER}")
        return str(cursor.fetchone()[0])


def begin(number: str, body: dict[str, Any], key: str, pins: dict[str, str]) -> BaseProcess:
    """Start placing; the same again after a death is what a client does that repeats its request."""
    process = _server.Process(target=_place, args=(number, body, key, pins), daemon=True)
    process.start()
    return process


def _place(number: str, body: dict[str, Any], key: str, pins: dict[str, str]) -> None:
    """``pins``: role → provider for this order, as a web process with other settings would choose."""
    os.setsid()  # a crash point may kill its whole group
    for role, name in pins.items():
        setattr(settings, ROLES[role].setting, name)
    vars(placing)["SQL"] = NamedSql(placing.FILE, placing.FRAGMENTS | {"next_number": f"'{number}'"})
    wanted = RequestedOrder(data=body)
    wanted.is_valid(raise_exception=True)
    placing.place(User.objects.get(username=CLIENT), key, wanted.validated_data, uuid.uuid4().hex)
    connection.close()
