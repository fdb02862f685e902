"""The shop as a whole is judged: its stock, its side effects, its providers, and all of its money."""

from collections.abc import Callable, Iterator

from django.conf import settings

from fulfillment.reconciliation import explained_money, forgotten, money, shop_rules
from fulfillment.reconciliation.finding import Finding, Rule
from fulfillment.reconciliation.incidents import is_gone
from fulfillment.reconciliation.listings import Place
from fulfillment.reconciliation.scope import Run
from orders.database import readable
from orders.incidents import Incident


def judge(run: Run) -> list[Finding]:
    """The findings about the shop, which are incidents then.

    An unknown order that is no longer found proves nothing in a limited run, which does not read what was listed long ago. Nor does it while a provider is silent.
    """
    rules = shop_rules.RULES | {Rule.EACH_EFFECT_ONCE: lambda: shop_rules.each_effect_once(run.audit, run.scope.placed_from)}
    found = [finding for rule in Rule if rule in rules for finding in _judged(rule, rules[rule], run)]
    lost = forgotten.find(run.listings)
    unplaced = list(forgotten.findings(lost))
    run.incidents.record(unplaced, ())  # nothing but ``manage.py recover`` resolves it
    run.listings.drop(lost.orders)
    silent = [_not_listed(place, why, run.unjudged[place]) for place, why in run.listings.silent.items()]
    run.incidents.record(silent, ())
    is_gone(Incident.objects.filter(code=Rule.NOT_LISTED, subject__in=[_named(place) for place in run.listings.providers]))
    unknown = list(shop_rules.unknown_order(run.listings))  # without what has an incident as forgotten
    run.incidents.record(unknown, () if run.scope.placed_from or silent else (Rule.UNKNOWN_ORDER,))
    return found + unplaced + silent + unknown


def _judged(rule: Rule, ask: Callable[[], Iterator[Finding]], run: Run) -> list[Finding]:
    """A rule that breaks is a finding itself. It does not keep the other rules from being asked."""
    run.watch("judging the shop", len(run.at_rest), len(run.at_rest))
    broken: list[Rule] = []
    found = readable([rule], lambda _: list(ask()), broken.append)
    message = "it could not be judged: its rows cannot be read"
    found += [Finding(subject=rule, rule=Rule.UNREADABLE, found=message, currency=settings.SHOP_CURRENCY) for rule in broken]
    run.incidents.record(found, () if broken else (rule,))
    if not broken:
        is_gone(Incident.objects.filter(code=Rule.UNREADABLE, subject=rule))
    return found


def explain_money(run: Run) -> list[Finding]:
    """Where the money is. It comes last, because an incident of this very run explains what is at risk. A limited run has not read all of the money."""
    run.watch("explaining the money", len(run.at_rest), len(run.at_rest))
    run.listed.others(run.listings)
    with_incident = {finding.subject for finding in run.report.findings if not finding.repaired}
    is_complete = not any(role == money.ROLE for role, _ in run.listings.silent)
    run.report.money = explained_money.explain(run.listed, with_incident, run.scope.cutoff, run.scope.placed_from, is_complete)
    found = list(explained_money.unexplained(run.report.money))
    run.incidents.record(found, () if run.scope.placed_from else (Rule.UNEXPLAINED,))
    return found


def _named(place: Place) -> str:
    return " ".join(place)[:80]


def _not_listed(place: Place, why: str, unjudged_minor: int) -> Finding:
    message = f"the {place[0]} provider does not list what it holds, so its orders were not judged: {why}"
    return Finding(subject=_named(place), rule=Rule.NOT_LISTED, found=message, amount_minor=unjudged_minor, currency=settings.SHOP_CURRENCY)
