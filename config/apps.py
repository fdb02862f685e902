import gc

from django.apps import AppConfig

from config import celery  # noqa: F401  (whatever publishes a task does it through our app, and not through a default one)


class ConfigConfig(AppConfig):
    name = "config"

    def ready(self) -> None:
        from config import checks  # noqa: F401  (registers the checks)

        gc.freeze()  # what is loaded stays: the collector leaves it alone, and the pages that a pool shares with its parent stay shared
