"""The other half of the audit log: what somebody tried and was not allowed. What was done stands in the history of its order, of its circuit or of its delivery.

A table of its own, because an entry in an order's history would raise its version: whoever is refused would make everybody else's decision stale.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

import pgtrigger
from django.db import models

from orders.clock import ShopNow
from orders.operators import Actor, Refused
from orders.text import has_card_number

log = logging.getLogger(__name__)

LEFT_OUT = "(left out: it looks like a card number)"


class RefusedAttempt(models.Model):
    """Append-only. ``user`` and ``actor``: who was authenticated; empty: nobody. ``subject``: an order's number, a circuit, a subscriber, or a token's prefix.

    Of what the person typed nothing is kept but the verb and the subject: it may be what was refused. No foreign keys: it outlives whom and what it is about.
    """

    at = models.DateTimeField(db_default=ShopNow())
    user = models.BigIntegerField(null=True)
    actor = models.CharField(max_length=80, blank=True)
    verb = models.CharField(max_length=40)
    subject = models.CharField(max_length=120, blank=True)
    sentence = models.CharField(max_length=300)

    class Meta:
        ordering: ClassVar = ["-id"]
        indexes: ClassVar = [models.Index(fields=["subject", "id"], name="refused_subject")]
        triggers: ClassVar = [pgtrigger.Protect(name="refused_append_only", operation=pgtrigger.Update | pgtrigger.Delete)]

    def __str__(self) -> str:
        return f"Refused: {self.actor or 'nobody known'}, {self.verb.replace('_', ' ')}: {self.sentence}"


@contextmanager
def recorded(actor: Actor | None, verb: str, subject: str) -> Iterator[None]:
    """Whatever is refused within is in the audit log when the refusal is shown. Around the transaction, which a refusal takes back."""
    try:
        yield
    except Refused as refused:
        _record(actor, verb, subject, str(refused))
        raise


def _record(actor: Actor | None, verb: str, subject: str, sentence: str) -> None:
    name = actor.name if actor else ""
    columns = {"verb": verb[:40], "subject": _shown(subject)[:120], "sentence": _shown(sentence)[:300]}
    log.warning("refused actor=%r verb=%s subject=%r", name, columns["verb"], columns["subject"])
    RefusedAttempt.objects.create(user=actor.user if actor else None, actor=name, **columns)


def _shown(text: str) -> str:
    """The sentence may quote what was typed."""
    return LEFT_OUT if has_card_number(text) else text
