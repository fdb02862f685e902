from django.apps import AppConfig


class Bench(AppConfig):
    name = "tests.bench.peers.programs.ours"
    label = "bench"

    def ready(self) -> None:
        """Both roles get the provider "bench"."""
        from fulfillment.gateways import ROLES
        from tests.bench.peers.programs.ours import gateways, trace

        for role, provider in {"payments": gateways.Payments, "carrier": gateways.Carrier}.items():
            ROLES[role] = ROLES[role]._replace(providers={**ROLES[role].providers, "bench": provider})
        trace.begin()
