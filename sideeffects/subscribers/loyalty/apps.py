from django.apps import AppConfig


class LoyaltyConfig(AppConfig):
    name = "sideeffects.subscribers.loyalty"
    label = "sideeffects_loyalty"
