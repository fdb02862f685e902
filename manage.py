#!/usr/bin/env python
"""Every command of the shop: ``python manage.py help``."""

import logging.config
import os
import sys

LOOPS = ("sweep", "relay")
SUPERVISOR = "up"


def main() -> None:
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    os.environ["SAGA_PROCESS"] = name if name in LOOPS else "web" if name == "runserver" else "command"
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line
    from django.db.utils import OperationalError

    try:
        if name == SUPERVISOR:
            _supervise()
        else:
            execute_from_command_line(sys.argv)
    except ImproperlyConfigured as wrong:
        sys.exit(f"Refused to start: {wrong}")
    except OperationalError as trouble:
        sys.exit(_message(trouble))


def _supervise() -> None:
    """Without any app: it needs the settings alone, and would load as much as each process that it starts (0.6 s)."""
    from django.conf import settings

    from config.management.commands.up import Command

    logging.config.dictConfig(settings.LOGGING)
    Command().run_from_argv(sys.argv)


def _message(trouble: Exception) -> str:
    from orders.database import advice, is_timeout

    first_line = (str(trouble).splitlines() or [""])[0]
    if is_timeout(trouble):
        return f"Another session holds what this needs ({first_line}). Nothing was done.\n→ `manage.py doctor` names who; try again when they are done."
    return f"The database does not answer: {first_line}\n→ {advice(trouble)}"


if __name__ == "__main__":
    main()
