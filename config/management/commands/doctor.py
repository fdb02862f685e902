"""``manage.py doctor``: does everything that the shop needs answer, and does anything wait for somebody?"""

import dataclasses
import sys
from typing import Any

from config import doctor
from fulfillment.management.operating import OperatorCommand
from orders.findings import FAIL, OK, WARN, Finding, worst

EXIT = {OK: 0, FAIL: 1, WARN: 3}  # 2 is wrong usage


class Command(OperatorCommand):
    help = (
        "Look at everything that the shop needs, and say what to do about what is wrong. Exit 0: all is well, 1: something fails, 3: nothing fails, and "
        "something should be looked at. Example: manage.py doctor"
    )
    requires_system_checks = ()  # they are findings here

    def handle(self, *args: Any, **options: Any) -> None:
        findings = []
        for finding in doctor.examine():
            findings.append(finding)
            if not options["json"]:
                self.write_lines(*_lines(finding))
                self.stdout.flush()
        if options["json"]:
            self.write_json({"level": worst(findings), "findings": [dataclasses.asdict(finding) for finding in findings]})
        if code := EXIT[worst(findings)]:
            sys.exit(code)


def _lines(finding: Finding) -> list[str]:
    lines = [f"{finding.level:5} {finding.what:12}  {finding.found}"]
    if finding.to_do or finding.runbook:
        lines.append(f"{'':20}→ {finding.to_do}" + (f"        {finding.runbook}" if finding.runbook else ""))
    return lines
