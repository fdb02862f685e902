"""Promise: an incident is heard. One line in the log for each that is opened, once it is durable, without anything that is personal."""

import logging
import shlex
from typing import Any

import pytest
from django.db import transaction

from orders.incidents import Incident, IncidentKind, open_incident, resolve, resolve_incidents

pytestmark = pytest.mark.django_db(transaction=True)
LOGGER = "orders.incidents"


def open_one(**changes: Any) -> Incident:
    columns: dict[str, Any] = {
        "subject": "ORD-1",
        "step": "payment",
        "code": "refund_declined",
        "message": "Amara's card",
        "amount_minor": 8420,
    }
    return open_incident(IncidentKind.COMPENSATION_EXHAUSTED, currency="EUR", **columns | changes)


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [(record.levelname, record.getMessage()) for record in caplog.records if record.name == LOGGER]


def test_an_incident_that_is_opened_is_one_line_at_error(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever watches our logs learns of it, of the amount, and where to read what to do."""
    open_one()

    (line,) = lines(caplog)
    assert line == (
        "ERROR",
        "incident opened kind=compensation_exhausted subject=ORD-1 step=payment code=refund_declined amount_minor=8420 currency=EUR"
        " runbook=docs/runbooks/compensation_exhausted.md",
    )


def test_the_same_incident_opened_again_is_no_second_line(caplog: pytest.LogCaptureFixture) -> None:
    open_one()
    open_one(amount_minor=100)

    assert len(lines(caplog)) == 1


def test_what_is_rolled_back_is_not_heard(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody is woken up for what has not happened."""
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        open_one()
        1 / 0  # noqa: B018

    assert lines(caplog) == []


def test_an_incident_that_is_resolved_is_one_line_at_info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, LOGGER)
    open_one()
    with transaction.atomic():
        resolve(Incident.objects.all(), "refunded", "paid back to Amara", "lukas")
        resolve(Incident.objects.all(), "refunded", "paid back to Amara", "lukas")
        resolve_incidents(1, "retried", "", "lukas")

    assert [(level, line.split(" kind=")[0], line.split()[-1]) for level, line in lines(caplog)[1:]] == [
        ("INFO", "incident resolved", "outcome=refunded")
    ]


@pytest.mark.parametrize("subject", ["ORD 7 kind=stuck", "ORD-7\nERROR root all is lost", 'a"b', "", "Ünder"])
def test_a_name_that_a_provider_made_up_stays_one_value_in_one_line(subject: str, caplog: pytest.LogCaptureFixture) -> None:
    """Nobody writes lines into our log."""
    open_one(subject=subject)

    ((_, line),) = lines(caplog)
    assert "\n" not in line
    fields = dict(word.split("=", 1) for word in shlex.split(line)[2:])
    assert list(fields) == ["kind", "subject", "step", "code", "amount_minor", "currency", "runbook"]


def test_nothing_personal_is_in_a_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, LOGGER)
    open_one()
    with transaction.atomic():
        resolve(Incident.objects.all(), "refunded", "paid back to Amara", "lukas")

    assert len(lines(caplog)) == 2
    assert "Amara" not in caplog.text
