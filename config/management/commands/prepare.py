"""``manage.py prepare``: what a stack does before anything else of it starts, in one process: to start another one takes longer than its work."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand


class Command(BaseCommand):
    help = "Bring the database up to date and stock the demo's shop: migrate, then seed. Example: manage.py prepare --credentials .run/credentials.json"
    requires_system_checks = ()  # web, workers and loops refuse to start by themselves; to load what the checks look at takes as long as the migration

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--credentials", type=Path, required=True, help="as for seed")

    def handle(self, *args: Any, **options: Any) -> None:
        call_command("migrate", interactive=False, verbosity=0)
        call_command("seed", credentials=options["credentials"], stdout=self.stdout)
