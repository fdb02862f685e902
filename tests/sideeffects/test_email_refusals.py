"""Promise: a receipt is given up at once only where the recipient's server says that there is no such recipient. Whatever else a mail server says is tried again."""

import socketserver
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from tests.sideeffects.conftest import RecordFact

pytestmark = pytest.mark.django_db(transaction=True)


@dataclass
class MailServer:
    """Answers 250, unless ``says`` has something else for the verb. ``""``: it hangs up there."""

    port: int = 0
    says: dict[str, str] = field(default_factory=dict)
    stored: list[str] = field(default_factory=list)

    def answer(self, verb: str) -> str:
        fine = {"CONNECT": "220 mail", "EHLO": "250-mail\r\n250 AUTH PLAIN", "AUTH": "235 2.7.0 ok", "DATA": "354 go", "QUIT": "221 bye"}
        return self.says.get(verb, fine.get(verb, "250 ok"))


class Session(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        server: MailServer = self.server.mail  # type: ignore[attr-defined]
        verb = "CONNECT"
        while said := server.answer(verb):
            self.wfile.write(f"{said}\r\n".encode())
            if verb == "DATA" and said.startswith("354"):
                message, said = self._message(), server.answer("STORED")
                server.stored += [message] * said.startswith("250")
                self.wfile.write(f"{said}\r\n".encode())
            line = self.rfile.readline().decode()
            if not line or verb == "QUIT":
                return
            verb = line.split()[0].upper()

    def _message(self) -> str:
        lines = iter(lambda: self.rfile.readline().decode().rstrip(), ".")
        return "\n".join(lines)


@pytest.fixture
def mail(settings: object) -> Iterator[MailServer]:
    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = daemon_threads = True
        mail = MailServer()

    with Server(("127.0.0.1", 0), Session) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        server.mail.port = server.server_address[1]
        for name, value in {"HOST": "127.0.0.1", "PORT": server.mail.port, "HOST_USER": "shop", "HOST_PASSWORD": "p"}.items():
            setattr(settings, f"EMAIL_{name}", value)
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"  # type: ignore[attr-defined]
        yield server.mail
        server.shutdown()


@pytest.mark.parametrize(
    ("verb", "says"),
    [
        ("CONNECT", "421 4.3.2 service not available"),
        ("CONNECT", "554 5.7.1 your address is listed"),
        ("CONNECT", ""),
        ("AUTH", "535 5.7.8 authentication failed"),
        ("MAIL", "530 5.7.0 authentication required"),
        ("MAIL", "552 5.2.2 over quota"),
        ("RCPT", "450 4.2.2 mailbox is full"),
        ("RCPT", "552 5.2.2 mailbox is full"),
        ("RCPT", "550 5.7.1 relaying denied"),
        ("RCPT", "553 5.1.8 the sender's domain is not known"),
        ("RCPT", "553 5.1.7 the sender's address is malformed"),
        ("RCPT", "451 4.1.1 try later"),
        ("RCPT", "550 no, without saying why"),
        ("DATA", "554 5.5.1 no valid recipients"),
        ("STORED", "550 5.4.5 daily user sending quota exceeded"),
        ("STORED", "552 5.2.2 over quota"),
        ("STORED", "554 5.7.1 looks like spam"),
        ("STORED", "451 4.3.0 try later"),
    ],
    ids=lambda words: words[:10] or "hangs up",
)
def test_what_does_not_speak_of_the_recipient_is_tried_again(record_fact: RecordFact, mail: MailServer, verb: str, says: str) -> None:
    """The shop's quota is used up, its address is listed, its login is wrong: I still get my receipt, later."""
    mail.says[verb] = says
    owed = record_fact("email")

    owed.run()

    assert owed.row()[:2] == ("retry_wait", 1)
    mail.says.clear()
    owed.run()
    assert owed.row() == ("delivered", 2, "")
    assert len(mail.stored) == 1


@pytest.mark.parametrize("says", ["550 No such user here", "450 try again later", "452 4.2.2 mailbox is full"])
def test_what_is_said_of_one_recipient_keeps_no_other_receipt_back(record_fact: RecordFact, mail: MailServer, says: str) -> None:
    """Three customers have mistyped their addresses, and this server gives no reasons in numbers: mine comes at once."""
    mail.says["RCPT"] = says
    mistyped = [record_fact("email", f"ORD-{n}", email=f"nobody-{n}@example.com") for n in range(3)]
    for one in mistyped:
        one.run()
    mail.says.clear()
    mine = record_fact("email", "ORD-3")

    mine.run()

    assert [one.row()[:2] for one in mistyped] == [("retry_wait", 1)] * 3
    assert mine.row() == ("delivered", 1, "")


@pytest.mark.parametrize("address", [f"amara@{'ä' * 60}.example", "ayd\u0131n@example.com", '""@example.com'])
def test_an_address_to_which_nothing_can_be_sent_is_given_up_at_once(record_fact: RecordFact, mail: MailServer, address: str) -> None:
    """It was taken in before such addresses were refused: no server is asked, and nobody else waits for it."""
    owed = [record_fact("email", f"ORD-{n}", email=address) for n in range(3)]

    for one in owed:
        one.run()

    assert [one.row() for one in owed] == [("dead", 1, "PermanentlyRefused")] * 3
    assert owed[0].delivery.error_message == "Nothing can be sent to this address"
    assert mail.stored == []


@pytest.mark.parametrize(
    "says", ["550 5.1.1 no such user", "550-5.1.1 no such user\r\n550 5.1.1 at all", "553 5.1.3 no address", "556 5.1.10 takes no mail"]
)
def test_a_recipient_that_does_not_exist_is_given_up_at_once(record_fact: RecordFact, mail: MailServer, says: str) -> None:
    mail.says["RCPT"] = says
    owed = record_fact("email")

    owed.run()

    assert owed.row() == ("dead", 1, "PermanentlyRefused")
    assert owed.delivery.error_message == f"The mail server refused the recipient for good ({says.split()[0].split('-')[0]})"
