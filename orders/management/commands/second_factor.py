"""``manage.py second_factor``: who has one, and the way back for an operator who has lost theirs. It asks for no token: who has lost the app may have lost both."""

from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import CommandParser

from fulfillment.management.operating import OperatorCommand, wrong_usage
from orders import operators, second_factor
from orders.operators import Refused


class Command(OperatorCommand):
    help = "List which operators have a second factor, or reset one: its user enrols anew at the next login. Example: manage.py second_factor reset amara"

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("what", choices=["list", "reset"])
        parser.add_argument("name", nargs="?", default="", help="for reset: the user's name")

    def handle(self, *args: Any, **options: Any) -> None:
        if (options["what"] == "reset") != bool(options["name"]):
            wrong_usage("reset needs the name of a user, list none.")
        answer = _reset(options["name"]) if options["what"] == "reset" else _list()
        self.write_json(answer) if options["json"] else self.write_lines(*answer["lines"])


def _list() -> dict[str, Any]:
    users = [user for user in User.objects.filter(is_staff=True).order_by("username") if operators.may_operate(user)]
    rows = [{"user": user.get_username(), "enrolled": second_factor.is_enrolled(user)} for user in users]
    return {"operators": rows, "lines": [f"{row['user']} · {'has one' if row['enrolled'] else 'has none'}" for row in rows]}


def _reset(name: str) -> dict[str, Any]:
    user = User.objects.filter(username=name).first()
    if user is None or not second_factor.reset(user):
        raise Refused(f"{name} has no second factor. Nothing was done.")
    sentence = f"The second factor of {name} opens nothing any more. {name} enrols a new one at the next login: by the password alone, so do it soon."
    return {"user": name, "lines": [sentence]}
