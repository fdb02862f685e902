from django.urls import path

from orders.api import views

urlpatterns = [
    path("orders", views.Orders.as_view(), name="orders"),
    path("orders/<str:number>", views.OrderDetail.as_view(), name="order"),
    path("orders/<str:number>/cancel", views.Cancel.as_view(), name="cancel"),
    path("products", views.Products.as_view(), name="products"),
]
