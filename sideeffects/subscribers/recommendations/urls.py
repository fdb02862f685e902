from django.urls import path

from sideeffects.subscribers.recommendations.views import Recommendations

urlpatterns = [path("products/<str:sku>/recommendations", Recommendations.as_view(), name="recommendations")]
