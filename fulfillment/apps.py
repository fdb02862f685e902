from django.apps import AppConfig
from django.db.models.signals import pre_migrate


class FulfillmentConfig(AppConfig):
    name = "fulfillment"

    def ready(self) -> None:
        from fulfillment import checks, plans  # noqa: F401

        pre_migrate.connect(plans.refuse_to_strand, sender=self, dispatch_uid="fulfillment.plans")
