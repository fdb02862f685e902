"""Turns: of many processes that do the same work, one at a time does it. A turn is a lease row with a fence, so whoever stands still loses it.

Note: a turn only saves work. Two processes that both believe to have it do no harm, because every row that they work on has a lock, an epoch or a claim of its
own. That is why a turn may be read without a lock, and why its writes need not wait for the disk.

Note: each write is one statement in a transaction of its own. A process that is stopped between two statements would otherwise keep the row locked, and the
others would wait for it.
"""

import logging
import os
import socket
import time
import uuid
from typing import Any

from django.db import DatabaseError, connection, models

from orders import named_sql
from orders.database import is_unusable, sqlstate

log = logging.getLogger(__name__)

LEASE_S = 3.0  # with one read a second, a spare works within five seconds of the holder's last sign of life; never scaled
WAIT_FOR_THE_ROW = "500ms"

# What each write sets for itself alone: it is not worth a wait for the disk, nor for whoever holds the row.
_ALONE = f"set_config('synchronous_commit', 'off', true) IS NOT NULL AND set_config('lock_timeout', '{WAIT_FOR_THE_ROW}', true) IS NOT NULL"
# Mine; or past its lease; or of an older release; or held for longer than any lease lasts, because the clock was set back.
_FREE = """
(held.token = %(token)s OR held.until <= shop_now() OR held.release < %(release)s OR held.until > shop_now() + 2 * %(lease_s)s * interval '1 second')
"""
TAKE = f"""
INSERT INTO orders_turnrow AS held (name, token, holder, release, until)
SELECT %(name)s::text, %(token)s, %(holder)s::text, %(release)s, shop_now() + %(lease_s)s * interval '1 second'
WHERE {_ALONE} AND NOT EXISTS (SELECT FROM orders_turnrow held WHERE held.name = %(name)s AND NOT {_FREE})
ON CONFLICT (name) DO UPDATE SET token = excluded.token, holder = excluded.holder, release = excluded.release, until = excluded.until WHERE {_FREE}
RETURNING true
"""
RENEW = f"""
UPDATE orders_turnrow SET until = shop_now() + %(lease_s)s * interval '1 second' WHERE {_ALONE} AND name = %(name)s AND token = %(token)s RETURNING true
"""
GIVE_BACK = f"UPDATE orders_turnrow SET until = shop_now() WHERE {_ALONE} AND name = %(name)s AND token = %(token)s RETURNING true"
NOBODY_ELSE_HAS_IT = "SELECT true FROM orders_turnrow WHERE name = %(name)s AND (token = %(token)s OR until <= shop_now())"


class TurnRow(models.Model):
    """Who works, until when. ``token`` is the fence: another one means that the turn was taken. ``holder`` (host:pid) is for people."""

    name = models.CharField(max_length=20, primary_key=True)
    token = models.UUIDField()
    holder = models.CharField(max_length=80)
    release = models.PositiveIntegerField()
    until = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.name}: {self.holder} until {self.until:%H:%M:%S}"


class TurnLost(Exception):
    """Somebody else has the turn now: whatever was begun ends here."""


class Turn:
    """This process's claim to the turn ``name``. Ask ``take`` before each round, and ``keep`` before each piece of work in it.

    ``release``: of this code (``fulfillment.code_release``); a higher one takes the turn at once. ``lease_s``: the longest that one piece of work may last.
    """

    def __init__(self, name: str, release: int, lease_s: float = LEASE_S) -> None:
        self._values: dict[str, Any] = {
            "name": name,
            "token": uuid.uuid4(),
            "holder": f"{socket.gethostname()}:{os.getpid()}"[-80:],
            "release": release,
            "lease_s": lease_s,
        }
        self._renew_every_s = lease_s / 4
        self._renewed_at = 0.0
        self._is_blind = False

    def take(self) -> bool:
        """Whether this process may work now: the turn was free, expired, of an older release, or is mine already."""
        return self._renewing(TAKE)

    def keep(self) -> bool:
        """Whether the turn is still mine. Reads without a lock, and renews the lease when a quarter of it has passed. False: stop this round at once."""
        if self._is_blind or time.monotonic() - self._renewed_at < self._renew_every_s:
            return self._says(NOBODY_ELSE_HAS_IT)
        return self._renewing(RENEW)

    def give_back(self) -> None:
        """Whoever stops on purpose lets the next one begin at once."""
        self._says(GIVE_BACK)

    def _renewing(self, statement: str) -> bool:
        """A turn whose row cannot be written (somebody holds it, or it is damaged) is no reason to stand still: it only saves work."""
        asked_at = time.monotonic()
        try:
            mine = self._says(statement)
        except DatabaseError as error:
            if is_unusable(error):
                raise
            if not self._is_blind:
                log.error(
                    "The turn %s cannot be taken, and is done without: %s %s", self._values["name"], type(error).__name__, sqlstate(error)
                )
            self._is_blind = True
            return True
        self._is_blind = False
        if mine:
            self._renewed_at = asked_at
        return mine

    def _says(self, statement: str) -> bool:
        return bool(named_sql.run(statement, self._values))


def holder_of(name: str) -> str:
    """Who has the turn, as host:pid; empty: nobody."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT holder FROM orders_turnrow WHERE name = %s AND until > shop_now()", [name])
        row = cursor.fetchone()
    return str(row[0]) if row else ""
