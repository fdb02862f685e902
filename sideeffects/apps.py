from django.apps import AppConfig


class SideEffectsConfig(AppConfig):
    name = "sideeffects"

    def ready(self) -> None:
        from sideeffects import tasks

        tasks.open_the_doors()
