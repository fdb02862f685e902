"""Failed logins are counted per account and address, per address and per account, by django-axes in the database: across processes and hosts.

A row holds what is counted and no more: the account, the address, how often, and when. The form, the browser and what was typed for an unknown account are left out.
"""

import ipaddress
import re
from contextlib import suppress
from typing import Any

from axes.handlers.database import AxesDatabaseHandler
from axes.models import AccessAttempt
from django.conf import settings
from django.contrib.auth.models import User
from django.db.models import Sum
from django.db.models.signals import pre_save
from django.dispatch import receiver
from django.http import HttpRequest
from django.utils import timezone
from django.utils.crypto import salted_hmac

# One account from one address, one address for all accounts (a whole office), one account from all addresses (nobody is kept out by a handful of strangers).
# In the sequence of AXES_LOCKOUT_PARAMETERS, as multiples of LOGIN_FAILURES.
MULTIPLES = (1, 5, 10)
NETWORK_BITS = 64
WITH_PORT = re.compile(r"(?P<v4>[0-9.]+):[0-9]+|\[(?P<v6>[^\[\].]*:[^\[\]]*)\](:[0-9]+)?", re.ASCII)


class Throttle(AxesDatabaseHandler):
    """Where django-axes has one limit for all parameters, each has its own here."""

    def get_failures(self, request: HttpRequest, credentials: dict[str, Any] | None = None) -> int:
        """As a number of LOGIN_FAILURES: of the parameter that is nearest to its limit."""
        counted = [rows.aggregate(sum=Sum("failures_since_start"))["sum"] or 0 for rows in self.get_user_attempts(request, credentials)]
        return max(failures // multiple for failures, multiple in zip(counted, MULTIPLES, strict=True))

    def user_login_failed(self, sender: Any, credentials: dict[str, Any], request: Any = None, **more: Any) -> None:
        if request is not None:
            request.axes_user_agent = request.axes_http_accept = ""
        super().user_login_failed(sender, credentials, request, **more)

    def reset_user_attempts(self, request: HttpRequest, credentials: dict[str, Any] | None = None) -> int:
        """After a success. Only what this account has failed from here: one right password excuses nobody else's wrong ones."""
        of_both, *_ = self.filter_user_attempts(request, credentials)
        return int(of_both.delete()[0])


@receiver(pre_save, sender=AccessAttempt)
def leave_out_the_form(instance: Any, **_: Any) -> None:
    """django-axes blots out the fields that it knows by name, and keeps the others."""
    instance.get_data = instance.post_data = ""


def account(request: Any, credentials: dict[str, Any] | None) -> str:
    """The account if there is one. Else what was typed, unreadable: it may be a password."""
    typed = str((credentials or {}).get("username") or request.POST.get("username", ""))
    if User.objects.filter(username=typed).exists():
        return typed
    return f"unknown:{salted_hmac('orders.login', typed).hexdigest()[:24]}"


def address(request: HttpRequest) -> str | None:
    """The client's, or its network where it is IPv6: a home or a server has a whole /64. None: it has no address, as behind a Unix socket.

    Of X-Forwarded-For only what our own proxies have added is believed.
    """
    forwarded = [part.strip() for part in request.META.get("HTTP_X_FORWARDED_FOR", "").split(",")] if settings.NUM_PROXIES else []
    nearest = forwarded[-settings.NUM_PROXIES :][:1]
    for candidate in (*nearest, request.META.get("REMOTE_ADDR", "")):
        with suppress(ValueError):
            return _counted_as(ipaddress.ip_address(_without_port(candidate)))
    return None


def _without_port(written: str) -> str:
    """Some proxies write ``203.0.113.9:4711`` and ``[2001:db8::1]:4711``."""
    found = WITH_PORT.fullmatch(written)
    return written if found is None else found["v4"] or found["v6"]


def _counted_as(found: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((int(found), NETWORK_BITS), strict=False).network_address)


def shown(account: str, address: str, user_agent: str, path: str, request: HttpRequest) -> str:
    """In a line of the log."""
    return f"account={account!r}"


def forget_old() -> int:
    """Failures that no longer count. A login does it too; where nobody logs in, somebody must."""
    return int(AccessAttempt.objects.filter(attempt_time__lte=timezone.now() - settings.AXES_COOLOFF_TIME).delete()[0])
