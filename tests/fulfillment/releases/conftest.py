"""A saga of a newer release, met by this one."""

from typing import Any

import pytest
from django.db.models import F

from fulfillment.code_release import RELEASE
from fulfillment.models import Saga, StepRecord
from tests.fulfillment.conftest import now_due

NEWER = RELEASE + 1
GIFT_WRAP = {
    "name": "gift_wrap",
    "version": 1,
    "kind": "compensable",
    "local": False,
    "compensation_blocks": False,
    "role": "",
    "gateway": "",
}


@pytest.fixture
def newer(saga: int) -> int:
    """A saga that the next release has opened: with a step between payment and inventory that this code does not have."""
    found = Saga.objects.get(pk=saga)
    StepRecord.objects.filter(saga=saga, position__gt=0).update(position=F("position") + 10)
    StepRecord.objects.create(saga=found, position=1, name="gift_wrap", do_key="ORD-1:gift_wrap:do:1")
    Saga.objects.filter(pk=saga).update(release=NEWER, plan=[found.plan[0], GIFT_WRAP, *found.plan[1:]])
    return saga


def long_ago(saga: int, settings: Any) -> None:
    """It has been left for longer than any deploy takes."""
    settings.UNKNOWN_STEP_AFTER_S = 60
    Saga.objects.filter(pk=saga).update(left_since="2020-01-01T00:00Z")
    now_due(saga)


def seen(saga: int) -> Saga:
    return Saga.objects.get(pk=saga)
