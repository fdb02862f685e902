from django.apps import AppConfig


class ProofsConfig(AppConfig):
    name = "tests.proofs"
