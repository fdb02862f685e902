"""Choices: which operator actions are legal for an order as its journal stands now, and the version that a decision must name."""

from dataclasses import dataclass

from fulfillment import engine, ledger
from fulfillment.engine.action import WAITING, Action, ActionState
from fulfillment.models import Saga, SagaState
from orders.money import money
from orders.timeline import TimelineEntry

NEEDS_NO_REASON = ("retry_now", "look_up", "assign", "snooze")
ASKED_FIRST = "the provider is asked first, and what it shows as undone, or as something else than was asked for, is refused"
OPTIONS = {"evidence": '--evidence "…"', "owner": '--owner "…"', "until": "--until …"}


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One operator action that is legal now. ``label``: its name for people. ``needs``: what must be given besides the reason. ``warns``: what to know first.

    ``amount_minor``: the amount that must be named, in minor units, where it is known.
    """

    verb: str
    label: str
    needs: tuple[str, ...] = ()
    warns: str = ""
    amount_minor: int | None = None

    def command(self, order: str, version: int, amount_minor: int | None = None) -> str:
        """The command line that decides it, to be pasted. … stands for what only the person knows; a line that still contains it is refused."""
        amount = self.amount_minor if amount_minor is None else amount_minor
        options = OPTIONS | {"amount": f"--amount-minor {'…' if amount is None else amount}"}
        line = f"python manage.py decide {order} {self.verb} --version {version}"
        line += "" if self.verb in NEEDS_NO_REASON else ' --reason "…"'
        return " ".join([line, *(options[name] for name in self.needs)])


def version_of(order_id: int) -> int:
    """The number of the order's last timeline entry. Whoever decides must have seen that entry."""
    return TimelineEntry.objects.filter(order_id=order_id).order_by("-id").values_list("id", flat=True).first() or 0


def choices(saga: Saga, incident_is_open: bool) -> list[Choice]:
    """Every operator action that is legal for this saga as it stands."""
    at = engine.standing(saga)
    found: list[Choice] = []
    if at is not None:
        if saga.state == SagaState.NEEDS_ATTENTION:
            found += _of_parked(saga, at)
        elif saga.held_by and at.state != ActionState.STARTED:
            found += _of_held(saga, at)
        elif at.state in WAITING:
            found.append(Choice(verb="retry_now", label="Try now instead of waiting"))
            found += _of_doubt(saga, at)
    return found + always_legal(incident_is_open)


def where(saga: Saga) -> Action:
    """Where a saga stands, for a verb that is legal only if it stands somewhere."""
    at = engine.standing(saga)
    assert at is not None
    return at


def always_legal(incident_is_open: bool) -> list[Choice]:
    """The actions that are legal for any order. They change no saga."""
    note = Choice(verb="note", label="Leave a note")
    if not incident_is_open:
        return [note]
    return [
        Choice(verb="assign", label="Say who takes care of it", needs=("owner",)),
        Choice(verb="snooze", label="Look at it later", needs=("until",)),
        note,
    ]


def _of_parked(saga: Saga, record: Action) -> list[Choice]:
    what = f"the undo of {record.name}" if record.is_compensation else record.name
    found = [_retry(record, what)] if engine.step_of(saga, record.name) else []
    found += _of_doubt(saga, record)
    if record.is_compensation:
        by_hand = f"{record.name.capitalize()} was undone by hand"
        needs = ("evidence", "amount")
        left = ledger.remaining(saga.order_id)
        follows = f"the refund of {money(left, saga.order.currency)} follows" if left and record.name not in _with_money(saga) else ""
        found.append(Choice(verb="undone_by_hand", label=by_hand, needs=needs, warns=follows, amount_minor=held_minor(saga, record)))
        found.append(
            Choice(
                verb="close", label="Close the order as it is", needs=("amount",), warns=_what_closing_loses(saga, left), amount_minor=left
            )
        )
    elif not engine.pivot_succeeded(saga):
        found.append(Choice(verb="start_undo", label="Undo what was done, in reverse order"))
    elif (step := engine.step_of(saga, record.name)) and step.skippable:
        found.append(Choice(verb="skip", label=f"Do without {record.name}", needs=("evidence",)))
    return found


def _retry(record: Action, what: str) -> Choice:
    refused = engine.was_refused(record)
    warns = "it was refused: it is asked for again under a new key, once the provider has shown what is left" if refused else ""
    return Choice(verb="retry", label=f"Try {what} again with a fresh budget", warns=warns)


def _of_held(saga: Saga, record: Action) -> list[Choice]:
    """The saga waits before an open circuit, which decides when it is tried. To go on waiting, nobody has to decide anything."""
    found = _of_doubt(saga, record) if record.state in WAITING else []
    if record.is_compensation or engine.pivot_succeeded(saga):
        return found
    asked = record.state != ActionState.PENDING
    warns = f"{record.name} was perhaps called: its undo waits for the provider" if asked else ""
    return [*found, Choice(verb="start_undo", label="Turn back instead of waiting", warns=warns)]


def _with_money(saga: Saga) -> list[str]:
    return [record.name for record in saga.records.all() if (record.receipt or {}).get("amount_minor")]


def held_minor(saga: Saga, record: Action) -> int | None:
    """What remains captured by this step, in minor units. None: nobody knows whether it took money."""
    if record.forward.receipt is None and record.forward.doubt and engine.planned(saga, record.name).get("role") == "payments":
        return None
    return ledger.remaining(saga.order_id, record.name)


def _what_closing_loses(saga: Saga, left: int) -> str:
    if left:
        return f"{money(left, saga.order.currency)} will be written off"
    at_risk = engine.at_risk_minor(saga)
    return f"nobody knows whether {money(at_risk, saga.order.currency)} was taken" if at_risk else "the ledger balances"


def _of_doubt(saga: Saga, record: Action) -> list[Choice]:
    if engine.is_local(saga, record):
        return []
    found = [Choice(verb="look_up", label=f"Ask the provider what became of {record.name}")] if engine.step_of(saga, record.name) else []
    if not record.is_compensation and (record.state == ActionState.IN_DOUBT or record.doubt):
        found += [
            Choice(verb="it_happened", label=f"{record.name.capitalize()} did happen", needs=("evidence",), warns=ASKED_FIRST),
            Choice(verb="it_did_not", label=f"{record.name.capitalize()} did not happen: run it again under {_its_key(record)}"),
        ]
    return found


def _its_key(record: Action) -> str:
    return "a new key" if record.state == ActionState.REJECTED else "the same key"
