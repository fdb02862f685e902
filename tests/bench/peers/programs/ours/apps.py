from django.apps import AppConfig


class Bench(AppConfig):
    name = "tests.bench.peers.programs.ours"
    label = "bench"

    def ready(self) -> None:
        """Both roles get the provider "bench"."""
        from fulfillment.gateways import ROLES
        from tests.bench.peers.programs.ours import gateways, trace

        payments, carrier = ROLES["payments"], ROLES["carrier"]
        ROLES["payments"] = payments._replace(providers={**payments.providers, "bench": gateways.Payments})
        ROLES["carrier"] = carrier._replace(providers={**carrier.providers, "bench": gateways.Carrier})
        trace.begin()
