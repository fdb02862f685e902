from django.apps import AppConfig


class SideEffectsConfig(AppConfig):
    name = "sideeffects"

    def ready(self) -> None:
        from sideeffects import checks, tasks  # noqa: F401

        tasks.define()
