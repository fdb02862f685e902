"""Notices: what an operator has to know on whichever page of the admin begins the day."""

from django.contrib import messages
from django.http import HttpRequest
from django.utils.formats import date_format

from orders import overload


def say_whether_orders_are_refused(request: HttpRequest) -> None:
    if (refusing := overload.refusing()) is not None:
        since = date_format(refusing.since, "DATETIME_FORMAT")
        sentence = f"New orders are refused since {since}, {refusing.refused:,} so far: too many wait for a worker. See docs/runbooks/overloaded.md."
        messages.error(request, sentence)
