"""Email: a text receipt over SMTP. Outside our database, so at least once, under a Message-ID that is the same for every try."""

import smtplib

from django.core.mail import EmailMessage
from django.template.loader import render_to_string

from orders.events import OrderFulfilled, subscriber
from orders.money import money
from sideeffects.models import Delivery


class PermanentlyRefused(Exception):
    """The mail server refused for good (5xx): another try would be refused as well."""


@subscriber(OrderFulfilled, outside=True, final=(PermanentlyRefused,))
def email(event: OrderFulfilled, delivery: Delivery) -> None:
    """Raises PermanentlyRefused; anything else is tried again. The Message-ID lets mail stores drop repeats."""
    order = delivery.fact.order  # names and addresses are not in the fact
    lines = [{"quantity": line.quantity, "name": line.name, "price": money(line.total_minor, event.currency)} for line in order.lines.all()]
    shown = {"event": event, "name": order.customer_name, "lines": lines, "total": money(event.total_minor, event.currency)}
    message = EmailMessage(
        f"Order {event.number} is on its way",
        render_to_string("sideeffects_email/receipt.txt", shown),
        to=[order.customer_email],
        headers={"Message-ID": f"<{delivery.key}@shop.example>"},
    )
    try:
        message.send()
    except smtplib.SMTPRecipientsRefused as refused:
        _raise_if_final([code for code, _ in refused.recipients.values()], refused)
    except smtplib.SMTPDataError as refused:  # of this message; a login or a sender that is refused is our own trouble
        _raise_if_final([refused.smtp_code], refused)


def _raise_if_final(codes: list[int], refused: smtplib.SMTPException) -> None:
    if all(code >= 500 for code in codes):
        raise PermanentlyRefused(f"The mail server refused the message for good ({max(codes)})") from refused
    raise refused
