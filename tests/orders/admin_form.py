"""A form of the admin as a person has it before them: opened, changed in some fields, and sent with all the others as they were."""

from html.parser import HTMLParser
from typing import Any

from django.test import Client as Browser


class _Fields(HTMLParser):
    """What a browser would send: fields of the page's form, and its buttons apart."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, str] = {}
        self.buttons: dict[str, str] = {}
        self._select = ""
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self._inside = self._inside or (tag == "form" and given.get("id", "").endswith("_form"))
        if not self._inside:
            return
        if tag == "input" and given.get("name") and (given.get("type") != "checkbox" or "checked" in given):
            self.found[given["name"]] = given.get("value", "on" if given.get("type") == "checkbox" else "")
        if tag == "select":
            self._select = given.get("name", "")
        if tag == "option" and self._select and ("selected" in given or self._select not in self.found):
            self.found[self._select] = given.get("value", "")
        if tag == "button" and given.get("name"):
            self.buttons[given["name"]] = given.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._inside = False
        if tag == "select":
            self._select = ""


class Form:
    """``text``: the page that holds it. Sending it follows redirects, and returns the page that comes then, with its form."""

    def __init__(self, browser: Browser, url: str, text: str) -> None:
        self.browser, self.url, self.text = browser, url, text
        read = _Fields()
        read.feed(text)
        self.fields, self.buttons = read.found, read.buttons

    def send(self, **changes: Any) -> "Form":
        """``None`` for a box without its tick."""
        values = {name: value for name, value in (self.fields | changes).items() if value is not None}
        return _page(self.browser.post(self.url, values, follow=True), self.browser, self.url)

    def press(self, button: str) -> "Form":
        return self.send(**{button: self.buttons[button]})


def opened(browser: Browser, url: str) -> Form:
    return _page(browser.get(url), browser, url)


def _page(answer: Any, browser: Browser, url: str) -> Form:
    assert answer.status_code == 200, answer
    return Form(browser, url, answer.content.decode())
