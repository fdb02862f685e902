"""``manage.py clients``: adds an API client, lists all of them with their tokens, rotates the tokens of one, revokes one token or all of a client."""

from argparse import ArgumentTypeError
from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import CommandParser

from fulfillment.management.numbers import at_least_zero
from fulfillment.management.operating import OperatorCommand, wrong_usage
from orders import client_tokens
from orders.client_tokens import OVERLAP_H, Issued, Scope
from orders.text import counted

ONCE = "It is shown this once. The client sends it with every request: Authorization: Bearer TOKEN"
OF_A_NEW_TOKEN = ("scopes", "expires_in_days")
OPTIONS = {"add": (*OF_A_NEW_TOKEN, "unique_references"), "list": (), "rotate": (*OF_A_NEW_TOKEN, "overlap_hours"), "revoke": ()}


class Command(OperatorCommand):
    help = (
        "Add an API client, list the clients, rotate the tokens of one, or revoke tokens. "
        "Example: manage.py clients add books-to-go --scopes orders:read,orders:write --expires-in-days 90. "
        "Example: manage.py clients rotate books-to-go --overlap-hours 24. "
        "Example: manage.py clients revoke api_1a2b3c4d"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "what", choices=list(OPTIONS), help="after a rotation the older tokens work for a while; a revoked one ends at once"
        )
        parser.add_argument(
            "which", nargs="?", default="", help="the client's name; for revoke also the prefix of one token, like api_1a2b3c4d"
        )
        parser.add_argument(
            "--scopes", type=_scopes, help=f"of {','.join(Scope.values)}; default: all, and for rotate those of the newest token"
        )
        parser.add_argument(
            "--expires-in-days",
            type=at_least_zero,
            help="how long the new token works; 0: until it is revoked. Default: 0, and for rotate as the newest token",
        )
        parser.add_argument(
            "--overlap-hours", type=at_least_zero, help=f"for rotate: how long the older tokens work (default {OVERLAP_H:g})"
        )
        parser.add_argument(
            "--unique-references",
            action="store_true",
            default=None,
            help="for add: each reference of this client stands for one order; a second one is refused",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        what = options["what"]
        if (what != "list") != bool(options["which"]):
            wrong_usage("add and rotate need the name of a client, revoke a name or the prefix of a token, list neither.")
        given = {name for names in OPTIONS.values() for name in names if options[name] is not None}
        if foreign := sorted(given.difference(OPTIONS[what])):
            wrong_usage(f"{what} does not know --{foreign[0].replace('_', '-')}.")
        answer = {"add": _add, "list": _list, "rotate": _rotate, "revoke": _revoke}[what](options)
        self.write_json(answer) if options["json"] else self.write_lines(*answer["lines"])


def _add(options: dict[str, Any]) -> dict[str, Any]:
    issued = client_tokens.add(
        options["which"],
        options["scopes"] or tuple(Scope),
        options["expires_in_days"] or client_tokens.NEVER,
        unique_references=bool(options["unique_references"]),
    )
    return _new(issued)


def _rotate(options: dict[str, Any]) -> dict[str, Any]:
    overlap_h = OVERLAP_H if options["overlap_hours"] is None else options["overlap_hours"]
    issued = client_tokens.rotate(options["which"], overlap_h, options["scopes"] or (), options["expires_in_days"])
    older = f"The older tokens of {options['which']}"
    return _new(issued, f"{older} work for {counted(overlap_h, 'hour')} more at most." if overlap_h else f"{older} open nothing any more.")


def _new(issued: Issued, *more: str) -> dict[str, Any]:
    token = issued.token
    ends = f"works until {token.expires_at:%Y-%m-%d %H:%M:%S} UTC" if token.expires_at else "works until it is revoked"
    about = f"{token.prefix} of {token.client} {ends}, for {', '.join(token.scopes)}."
    return {"token": issued.secret, **_row(token), "lines": [issued.secret, ONCE, about, *more]}


def _list(_: dict[str, Any]) -> dict[str, Any]:
    clients = list(client_tokens.clients())
    rows = [
        {"client": client.username, "is_active": client.is_active, "tokens": [_row(one) for one in client.client_tokens.all()]}
        for client in clients
    ]
    return {"clients": rows, "lines": [*(line for client in clients for line in _lines(client)), f"{counted(len(clients), 'client')}."]}


def _revoke(options: dict[str, Any]) -> dict[str, Any]:
    prefixes = client_tokens.revoke(options["which"])
    return {"revoked": prefixes, "lines": [f"{prefix} is revoked: it opens nothing any more." for prefix in prefixes]}


def _row(token: Any) -> dict[str, Any]:
    instants = {name: getattr(token, name) for name in ("made_at", "last_used_at", "expires_at", "revoked_at")}
    return {
        "client": token.client.username,
        "prefix": token.prefix,
        "scopes": token.scopes,
        "opens": not client_tokens.why_not(token),
    } | instants


def _lines(client: User) -> list[str]:
    """The newest token first. An older one that still works is there for the overlap of a rotation."""
    return [_line(token, place) for place, token in enumerate(client.client_tokens.all())] or [f"{client.username} · no token"]


def _line(token: Any, place: int) -> str:
    used = f"last used {token.last_used_at:%Y-%m-%d %H:%M}" if token.last_used_at else "never used"
    until = f"until {token.expires_at:%Y-%m-%d %H:%M}" if token.expires_at else "until it is revoked"
    until += ", beside the newest" if place else ""
    return f"{token.client} · {token.prefix} · {' '.join(token.scopes)} · {used} · {client_tokens.why_not(token) or until}"


def _scopes(text: str) -> list[str]:
    wanted = [name.strip() for name in text.split(",") if name.strip()]
    if unknown := [name for name in wanted if name not in Scope.values]:
        raise ArgumentTypeError(f"{', '.join(unknown)}: there is no such scope, only {', '.join(Scope.values)}")
    if not wanted:
        raise ArgumentTypeError("name one scope at least")
    return wanted
