"""The next release of the shop, made from this one: one step more, a migration that adds a column, and RELEASE raised."""

import re
from pathlib import Path

from fulfillment.code_release import RELEASE
from tests.proofs.checkout import copy_code

NEWER = RELEASE + 1
GIFT_WRAP = '''"""Gift wrap: paper around it; its compensation takes it off."""

from typing import Any

from fulfillment.step import Compensation, Kind, Receipt, Step


class GiftWrap(Step):
    name = "gift_wrap"
    kind = Kind.COMPENSABLE

    def execute(self, order: Any, key: str) -> Receipt:
        return {"paper": key}

    def compensate(self, order: Any, compensation: Compensation) -> Receipt | None:
        return {"unwrapped": compensation.do_key}
'''
MIGRATION = """from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("fulfillment", "{last}")]
    operations = [migrations.AddField("saga", "ribbon", models.CharField(max_length=20, db_default="red"))]
"""


def make(folder: Path) -> Path:
    """The code of the next release, in ``folder``. Old code goes on working with its database: the new column is not empty, and has a default there."""
    copy_code(folder)
    core = folder / "fulfillment"
    (core / "steps" / "gift_wrap.py").write_text(GIFT_WRAP)
    _change(core / "steps" / "__init__.py", r"Payment\(\), ", "Payment(), GiftWrap(), ")
    _change(
        core / "steps" / "__init__.py", r"(?m)^from fulfillment\.steps\.inv", "from fulfillment.steps.gift_wrap import GiftWrap\n\\g<0>"
    )
    _change(core / "code_release.py", r"(?m)^RELEASE = \d+$", f"RELEASE = {NEWER}")
    _change(core / "models.py", r"(?m)^    release = .*$", '\\g<0>\n    ribbon = models.CharField(max_length=20, db_default="red")')
    migrations = core / "migrations"
    last = max(file.stem for file in migrations.glob("0*.py"))
    (migrations / f"{int(last[:4]) + 1:04}_ribbon.py").write_text(MIGRATION.format(last=last))
    return folder


def _change(file: Path, what: str, into: str) -> None:
    text, changed = re.subn(what, into, file.read_text(), count=1)
    assert changed, f"{file.name} no longer holds what the next release changes"
    file.write_text(text)
