"""Promise: whatever an operator's browser asks for wrongly, or twice, is answered by a page that says so, and is no error of the shop."""

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.db import transaction
from django.test import Client as Browser

from fulfillment.models import StockLevel
from orders import client_tokens
from orders.models import ClientSettings, Product
from tests.orders.admin_form import opened
from tests.orders.conftest import Client
from tests.sides import at_once

LISTS = [f"/admin/{model._meta.app_label}/{model._meta.model_name}/" for model in admin.site._registry]
NONSENSE = [
    {"pk__exact": "\x00"},
    {"pk__regex": "("},
    {"pk__exact": "9" * 5000},
    {"q": "\x00", "o": "99.x.-", "all": "\x00"},
    {"p": "9" * 5000},
]
OF_ONE_LIST = [
    ("/admin/orders/order/", {"status__exact": "\x00"}),
    ("/admin/orders/order/", {"customer_email__regex": "("}),
    ("/admin/orders/order/", {"placed_at__year": "99999", "placed_at__month": "1"}),
    ("/admin/orders/order/", {"placed_at__gte": "\x00"}),
    ("/admin/orders/order/", {"attention": "\x00"}),
    ("/admin/fulfillment/stockmovement/", {"at__year": "9999"}),
    ("/admin/fulfillment/stockmovement/", {"at__year": "9999", "at__month": "12"}),
    ("/admin/fulfillment/stockmovement/", {"at__year": "9999", "at__month": "12", "at__day": "31"}),
    ("/admin/auth/user/", {"last_login__year": "99999"}),
    ("/admin/auth/user/", {"is_staff__exact": "\x00"}),
    ("/admin/auth/user/", {"groups__id__exact": "\x00"}),
]


@pytest.fixture
def root(transactional_db: None, catalogue: None) -> Browser:
    browser = Browser(raise_request_exception=False)
    browser.force_login(User.objects.create_superuser("root"))
    return browser


def test_a_list_that_is_asked_for_nonsense_is_shown_and_says_so(root: Browser) -> None:
    """I have cut an address in half."""
    asked = [*((address, query) for address in LISTS for query in NONSENSE), *OF_ONE_LIST]

    answers = {(address, str(query)[:80]): root.get(address, query).status_code for address, query in asked}

    assert {asked: status for asked, status in answers.items() if status not in (200, 302, 400)} == {}


def test_who_is_shown_all_rows_instead_is_told_so(root: Browser) -> None:
    shown = root.get("/admin/orders/order/", {"customer_email__regex": "("}, follow=True)

    assert shown.redirect_chain == [("/admin/orders/order/?e=1", 302)]
    assert "asks for something that no row can be compared with" in shown.content.decode()


def test_an_error_of_ours_is_not_taken_for_a_mistake(root: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list that cannot be shown at all leads nobody in circles."""

    def broken(*_: Any) -> None:
        raise ValueError("ours")

    monkeypatch.setattr(type(admin.site._registry[Product]), "get_queryset", broken)

    assert root.get("/admin/orders/product/", follow=True).status_code == 500


@pytest.mark.parametrize(
    "address",
    [
        "/admin/search/?s=%00",
        "/admin/autocomplete/?app_label=auth&model_name=user&field_name=groups&term=%00",
        "/admin/orders/product/add/?sku=%00&price=%00&_changelist_filters=%00",
        "/admin/orders/clientsettings/add/?name=%00&scopes=%00&lifetime_days=%00",
        "/admin/orders/clientsettings/99999999999999999999999/rotate/",
        "/admin/orders/order/99999999999999999999999/change/",
        "/admin/auth/user/99999999999999999999999/password/",
        "/admin/auth/user/add/?_to_field=%00&_popup=%00",
        "/admin/r/99999999999999999999999/1/",
        "/admin/login/?next=%00",
    ],
)
def test_another_page_that_is_asked_for_nonsense_is_no_error_of_the_shop(root: Browser, address: str) -> None:
    assert root.get(address, follow=True).status_code < 500


# --- the same, twice at once ------------------------------------------------------------------------------------------------------


def test_a_client_that_is_added_twice_at_once_is_added_once(root: Browser) -> None:
    """I have clicked twice."""
    form = opened(root, "/admin/orders/clientsettings/add/")
    fields = form.fields | {"name": "books-to-go", "scopes": ["orders:read"], "lifetime_days": "0"}

    _, shown = at_once(
        lambda: client_tokens.add("books-to-go"), "INSERT INTO", lambda: root.post(form.url, fields, follow=True), must_wait=True
    )

    assert (shown.status_code, "called books-to-go already" in shown.content.decode()) == (200, True)
    assert ClientSettings.objects.count() == 1


def test_a_client_whose_name_was_taken_since_the_form_was_checked_is_refused(root: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    form = opened(root, "/admin/orders/clientsettings/add/")
    User.objects.create_user("books-to-go")
    monkeypatch.setattr("orders.admin.clients.NewClientForm.clean_name", lambda self: self.cleaned_data["name"])

    shown = form.send(name="books-to-go", scopes=["orders:read"], lifetime_days="0")

    assert "called books-to-go already" in shown.text


TWICE = [
    ("/admin/auth/group/add/", {"name": "support"}, lambda: Group.objects.create(name="support")),
    (
        "/admin/orders/product/add/",
        {"sku": "LAMP", "name": "Lamp", "price": "10.00", "currency": "EUR"},
        lambda: Product.objects.create(sku="LAMP", name="Lamp", price_minor=1000, currency="EUR"),
    ),
    ("/admin/fulfillment/stocklevel/add/", {"sku": "UNCOUNTED", "on_hand": "3"}, lambda: StockLevel.objects.create(sku="UNCOUNTED", on_hand=3)),
]  # fmt: skip


@pytest.mark.parametrize(("address", "given", "make"), TWICE, ids=[address for address, *_ in TWICE])
def test_what_is_added_twice_at_once_is_added_once(root: Browser, address: str, given: dict[str, str], make: Any) -> None:
    form = opened(root, address)
    if "price" in given:  # it is asked for again
        form = form.send(**given)
    fields = form.fields | given | {name: value for name, value in form.buttons.items() if name == "confirmed"}

    _, shown = at_once(transaction.atomic(make), "INSERT INTO", lambda: root.post(form.url, fields, follow=True), must_wait=True)

    assert (shown.status_code, "Nothing was done" in shown.content.decode()) == (200, True)


# --- a client that has become an operator -----------------------------------------------------------------------------------------


def test_who_has_become_an_operator_gets_no_new_token_and_the_page_says_why(root: Browser) -> None:
    client = Client("books-to-go")
    ClientSettings.objects.create(client=client.user)
    User.objects.filter(pk=client.user.pk).update(is_staff=True)

    shown = opened(root, f"/admin/orders/clientsettings/{client.user.pk}/rotate/").send()

    assert "There is no API client books-to-go. Nothing was done." in shown.text
    assert client.user.client_tokens.count() == 1
