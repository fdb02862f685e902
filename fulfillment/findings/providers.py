"""Findings about providers: does the sandbox answer, and which circuits are open?"""

from collections.abc import Iterator

from django.conf import settings

from fulfillment.circuit import CircuitState
from fulfillment.engine import sentence_with_waiting
from fulfillment.gateways import ROLES
from fulfillment.models import Circuit
from orders.findings import FAIL, OK, WARN, Finding, runbook


def sandbox(within_s: float) -> Iterator[Finding]:
    """Whether the sandbox answers within ``within_s`` seconds, where it plays a provider. A real provider is not asked."""
    import httpx  # noqa: PLC0415  (0.1 s, and every web process and command has this module: only doctor asks)

    roles = sorted(role for role, one in ROLES.items() if getattr(settings, one.setting).startswith("sandbox"))
    if not roles:
        return
    asked = f"sandbox at {settings.SANDBOX_URL}, for {' and '.join(roles)}"
    try:
        httpx.get(f"{settings.SANDBOX_URL.rstrip('/')}/healthz", timeout=within_s).raise_for_status()
    except (httpx.HTTPError, httpx.InvalidURL) as silent:
        to_do = "python manage.py sandbox, or set SANDBOX_URL; open orders wait and are tried again"
        yield Finding(level=FAIL, what="provider", found=f"{asked}, {_in_words(silent, within_s)}", to_do=to_do)
    else:
        yield Finding(level=OK, what="provider", found=f"{asked}, answers")


def _in_words(silent: Exception, within_s: float) -> str:
    """What is wrong with somebody who was asked by HTTP, after their name and a comma."""
    import httpx  # noqa: PLC0415  (as above)

    match silent:
        case httpx.HTTPStatusError():
            return f"answers {silent.response.status_code}"
        case httpx.ConnectTimeout() | httpx.ConnectError():
            return "cannot be reached"
        case httpx.TimeoutException():
            return f"has not answered within {within_s:g} s"
        case httpx.InvalidURL() | httpx.UnsupportedProtocol():
            return "has an address that cannot be asked"
        case _:
            return "hangs up before it has answered"


def circuits() -> Iterator[Finding]:
    """Providers that have not answered, as the orders that called them found; and circuits that a person holds open."""
    out = Circuit.objects.exclude(state=CircuitState.CLOSED).order_by("name")
    for circuit in out:
        level = WARN if circuit.held_by else FAIL
        to_do = f"python manage.py circuit release {circuit.name}" if circuit.held_by else "ask the provider; orders go on by themselves"
        yield Finding(level=level, what="circuits", found=sentence_with_waiting(circuit), to_do=to_do, runbook=runbook("provider_down"))
    if not out:
        yield Finding(level=OK, what="circuits", found="all closed: no provider is known to be out")
