"""``manage.py operator_token``: a user makes a token of their own, by their own password, sees it once, and revokes it. It says on a command line who decides."""

import sys
from typing import Any

from django.conf import settings
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import User
from django.core.management.base import CommandParser

from fulfillment.management.operating import OperatorCommand, hidden, wrong_usage
from orders import operators, refusals, second_factor
from orders.models import OperatorToken
from orders.operators import NAME_LENGTH, Refused

VERB = "operator_token"
WRONG = "This user and this password do not belong together, or the user may not log in."
WRONG_CODE = "This code opens nothing. Who has no second factor yet enrols one by logging in to the admin."
ONCE = "It is shown this once. Keep it where nobody else reads, and give it to a command as OPERATOR_TOKEN; as an argument it would stand in the process list."


class Command(OperatorCommand):
    help = (
        "Make, list or revoke operator tokens. To make one, its user gives their own password: typed unseen, or as the first line of standard input; "
        "with OPERATORS_SECOND_FACTOR also a code of their second factor, as the second line. "
        "Example: manage.py operator_token create amara"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("what", choices=["create", "list", "revoke"], help="revoking needs no password: it only takes away")
        parser.add_argument(
            "which", nargs="?", default="", help="for create the user's name, for revoke the token's prefix, like op_1a2b3c4d"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if (options["what"] != "list") != bool(options["which"]):
            wrong_usage("create needs the name of a user, revoke the prefix of a token, list neither.")
        answer = {"create": _create, "list": _list, "revoke": _revoke}[options["what"]](options["which"])
        self.write_json(answer) if options["json"] else self.write_lines(*answer["lines"])


def _create(name: str) -> dict[str, Any]:
    password = _asked(f"Password of {name}: ")
    with refusals.recorded(None, VERB, _known(name)):
        user = ModelBackend().authenticate(None, username=name, password=password)  # the throttle counts by address, and here is none
        if not isinstance(user, User):
            raise Refused(WRONG)
        if settings.OPERATORS_SECOND_FACTOR and not second_factor.opened_by(user, _asked("Code of the second factor: ")):
            raise Refused(WRONG_CODE)
        token = operators.issue(user)
    return {"token": token, "prefix": operators.prefix_of(token), "lines": [token, ONCE]}


def _asked(prompt: str) -> str:
    return hidden(prompt) if sys.stdin.isatty() else sys.stdin.readline().rstrip("\r\n")


def _known(name: str) -> str:
    """What was typed for a name may be a password."""
    return name[:NAME_LENGTH] if User.objects.filter(username=name).exists() else ""


def _list(_: str) -> dict[str, Any]:
    tokens = list(OperatorToken.objects.select_related("user"))
    rows = [
        {"prefix": one.prefix, "user": one.user.get_username(), "made_at": one.made_at, "revoked_at": one.revoked_at, "opens": _opens(one)}
        for one in tokens
    ]
    return {"tokens": rows, "lines": [*map(_line, tokens), f"{sum(map(_opens, tokens))} of {len(tokens)} tokens can be used."]}


def _opens(token: OperatorToken) -> bool:
    return token.revoked_at is None and operators.may_operate(token.user)


def _line(token: OperatorToken) -> str:
    until = (
        f"revoked {token.revoked_at:%Y-%m-%d %H:%M:%S}" if token.revoked_at else "in use" if _opens(token) else "its user may not log in"
    )
    return f"{token.prefix} · {token.user.get_username()} · made {token.made_at:%Y-%m-%d %H:%M:%S} · {until}"


def _revoke(prefix: str) -> dict[str, Any]:
    if not operators.revoke(prefix):
        raise Refused(f"No token that can be used begins with {prefix}. Nothing was done.")
    return {"prefix": prefix, "lines": [f"{prefix} is revoked: it opens nothing any more."]}
