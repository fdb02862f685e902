from django.apps import AppConfig


class EmailConfig(AppConfig):
    name = "sideeffects.subscribers.email"
    label = "sideeffects_email"
