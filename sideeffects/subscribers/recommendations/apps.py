from django.apps import AppConfig


class RecommendationsConfig(AppConfig):
    name = "sideeffects.subscribers.recommendations"
    label = "sideeffects_recommendations"
