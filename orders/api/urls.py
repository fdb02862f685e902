from django.urls import path

from orders.api import views

urlpatterns = [
    path("orders", views.Orders.as_view(), name="orders"),
    path("orders/<str:number>", views.OrderDetail.as_view(), name="order"),
    path("orders/<str:number>/cancel", views.Cancel.as_view(), name="cancel"),
    path("orders/<str:number>/events", views.OrderEvents.as_view(), name="order_events"),
    path("products", views.Products.as_view(), name="products"),
    path("products/<str:sku>", views.ProductDetail.as_view(), name="product"),
]
