"""Finding about the backlog: how many orders wait for a worker, and whether new ones are refused because of it."""

from collections.abc import Iterator

from django.conf import settings

from orders import overload
from orders.clock import shop_now
from orders.findings import FAIL, OK, WARN, Finding, duration, runbook

TO_DO = "add saga workers, or see what those that run wait for"


def backlog(waiting: int | None) -> Iterator[Finding]:
    """``waiting``: messages in the queue of new orders; None: the broker does not say."""
    limit, many = settings.BACKLOG_LIMIT, "an unknown number of" if waiting is None else f"{waiting:,}"
    if (refusing := overload.refusing()) is not None:
        since = duration((shop_now() - refusing.since).total_seconds())
        found = (
            f"new orders are refused for {since} ({refusing.refused:,} so far): {many} orders wait, until {overload.ends_at():,} are left"
        )
        yield Finding(level=FAIL, what="backlog", found=found, to_do=TO_DO, runbook=runbook("overloaded"))
    elif waiting is not None and waiting > overload.ends_at() and limit:
        found = f"{many} orders wait for a worker; above {limit:,} new ones are refused"
        yield Finding(level=WARN, what="backlog", found=found, to_do=TO_DO, runbook=runbook("overloaded"))
    elif waiting is not None:
        bound = f"above {limit:,} new ones are refused" if limit else "new ones are never refused (BACKLOG_LIMIT=0)"
        yield Finding(level=OK, what="backlog", found=f"{many} orders wait for a worker; {bound}")
