"""The people in a case: a customer who cancels, an operator who retries, and one who believes an old mail; each once, when its time has come."""

import contextlib

import httpx

from fulfillment import recovery
from fulfillment.models import Saga, SagaState, StepRecord
from orders.management.placing_client import ShopClient
from orders.operators import Actor
from tests.proofs.crash_matrix import outside_refund
from tests.proofs.crash_matrix.injection import Injection
from tests.proofs.crash_matrix.script import Script

# Nobody is authenticated: that is the entry points' business.
PROVER = Actor(user=0, name="prove", permissions=frozenset({"fulfillment.decide_retry"}))


class People:
    def __init__(self, script: Script, shop: ShopClient, injection: Injection) -> None:
        self.script, self.shop, self.injection = script, shop, injection
        self.cancelled = self.retried = self.disbelieved = False

    def act(self, number: str) -> None:
        """Whatever one of them would do now."""
        self._cancel_if_it_is_time(number)
        self._retry_if_a_person_would(number)
        self._somebody_believes_in_it(number)

    def _cancel_if_it_is_time(self, number: str) -> None:
        if not self.script.cancel_at or self.cancelled:
            return
        tried = StepRecord.objects.filter(saga__order__number=number, name=self.script.cancel_at, tries__gt=0)
        if tried.exists():
            self.cancelled = self._cancel(number)

    def _cancel(self, number: str) -> bool:
        """Whether it was answered; the web process may have died just now."""
        try:
            self.shop.cancel(number)
        except httpx.HTTPStatusError as error:
            return error.response.status_code < 500
        except httpx.TransportError:
            return False
        return True

    def _retry_if_a_person_would(self, number: str) -> None:
        saga = Saga.objects.filter(order__number=number).first()
        if not self.script.is_retried or self.retried or saga is None or saga.state != SagaState.NEEDS_ATTENTION:
            return
        version = recovery.version_of(saga.order_id)
        request = recovery.Request(order=number, verb="retry", version=version, actor=PROVER, reason="the bank would do it now")
        with contextlib.suppress(recovery.Refused):  # something was noted just now: seen the next time
            recovery.decide(request)
            self.retried = True

    def _somebody_believes_in_it(self, number: str) -> None:
        """The provider is asked first, and shows what support has done; once the person was refused, answers come through again."""
        if self.script.refunded_at and not self.disbelieved:
            self.disbelieved = outside_refund.refunds_and_says_that_it_happened(number, self.script.refunded_at)
            if self.disbelieved:
                self.injection.answers_come_through(number)
