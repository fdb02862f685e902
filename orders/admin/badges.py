"""Icons and words. A state is never shown by its colour alone."""

from django.utils.html import format_html
from django.utils.safestring import SafeString

from orders.models import Status

FAILED = "✖"
GOOD, BAD, BUSY, BACK, GREY = "#15803d", "#b91c1c", "#1d4ed8", "#b45309", "#4b5563"

_STATUS = {
    Status.PLACED: ("○", GREY),
    Status.PROCESSING: ("▶", BUSY),
    Status.FULFILLED: ("✔", GOOD),
    Status.COMPENSATING: ("↺", BACK),
    Status.CANCELLED: ("⊘", GREY),
}
_STEP = {
    "pending": ("·", GREY),
    "scheduled": ("◌", BUSY),
    "started": ("▶", BUSY),
    "succeeded": ("✔", GOOD),
    "delivered": ("✔", GOOD),
    "rejected": ("✖", BAD),
    "dead": ("✖", BAD),
    "retry_wait": ("◌", BACK),
    "in_doubt": ("?", BACK),
    "not_needed": ("–", GREY),
    "compensated": ("↺", BACK),
}


def badge(icon: str, word: str, colour: str) -> SafeString:
    style = "display:inline-flex;gap:.35em;align-items:center;padding:.1em .65em;border-radius:999px;white-space:nowrap;"
    style += f"color:#fff;background:{colour};font-weight:600;font-size:.85em"
    return format_html('<span style="{}"><span aria-hidden="true">{}</span>{}</span>', style, icon, word)


def status_badge(status: str) -> SafeString:
    if status not in Status.values:  # a newer release has written it
        return badge("•", status.replace("_", " ").capitalize(), GREY)
    icon, colour = _STATUS.get(Status(status), ("✖", BAD))
    return badge(icon, Status(status).label, colour)


def attention_badge() -> SafeString:
    """A person must decide."""
    return badge("⚠", "Needs attention", BAD)


def state_badge(state: str, label: str) -> SafeString:
    """Of a step, a compensation or a delivery."""
    icon, colour = _STEP.get(state) or ("↺", BACK)
    return badge(icon, label, colour)


def failed_badge() -> SafeString:
    """Beside the state of the step at which the order failed, which says only what became of it afterwards."""
    return badge(FAILED, "Failed", BAD)


def icon_of(state: str) -> str:
    return (_STEP.get(state) or ("↺", BACK))[0]
