from django.apps import AppConfig


class SideEffectsConfig(AppConfig):
    name = "sideeffects"

    def ready(self) -> None:
        from sideeffects import registry

        registry.open_the_doors()
