from django.apps import AppConfig


class AnalyticsConfig(AppConfig):
    name = "sideeffects.subscribers.analytics"
    label = "sideeffects_analytics"
