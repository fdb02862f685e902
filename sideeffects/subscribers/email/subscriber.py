"""Email: a text receipt over SMTP. It is outside our database, so it is sent at least once. Every try has the same Message-ID."""

import re
import smtplib

from django.core.mail import EmailMessage
from django.template.loader import render_to_string

from orders.events import OrderFulfilled, subscriber
from orders.money import money
from orders.text import can_be_written_to
from sideeffects.models import Delivery

NO_SUCH_RECIPIENT = re.compile(rb"5\.1\.(?![78]\b)\d")  # 5.1.7 and 5.1.8 speak of the sender, who is ourselves. Source: RFC 3463

CLOSING = 421  # the server hangs up, whoever the recipient is. Source: RFC 5321
ABOUT_OURSELVES = re.compile(rb"[45]\.(?![12]\.)\d|[45]\.1\.[78]\b")  # any other subject than the address or the mailbox; or the sender's


class PermanentlyRefused(Exception):
    """The recipient's server says that there is no such recipient (5.1.x on RCPT): another try would be refused as well."""


class NotNow(Exception):
    """The mailbox is full, or its server does not say why: another try may succeed, and others have theirs meanwhile."""


@subscriber(OrderFulfilled, outside=True, seen_by_customers=True, final=(PermanentlyRefused,), of_this_one=(NotNow,))
def email(event: OrderFulfilled, delivery: Delivery) -> None:
    """Send the receipt. The Message-ID lets mail stores drop repeats.

    Raises PermanentlyRefused. Any other error is tried again: a login, a quota or a block list is for us to mend, and a full mailbox may be emptied.
    """
    order = delivery.fact.order  # names and addresses are not in the fact
    if not can_be_written_to(order.customer_email):
        raise PermanentlyRefused("Nothing can be sent to this address")
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
        (answer,) = refused.recipients.values()
        if NO_SUCH_RECIPIENT.match(answer[1]):
            raise PermanentlyRefused(f"The mail server refused the recipient for good ({answer[0]})") from refused
        if answer[0] != CLOSING and not ABOUT_OURSELVES.match(answer[1]):
            raise NotNow(f"The mail server did not take the recipient ({answer[0]})") from refused
        raise
