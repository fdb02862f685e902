"""What each problem means to a client: one table, from which the pages at ``/problems/`` and the tables in docs/errors.md are made.

Whoever adds a ``Problem`` adds its row; a test finds those without.
"""

from dataclasses import dataclass

from drf_canon.errors import (
    INTERNAL_ERROR,
    METHOD_NOT_ALLOWED,
    NOT_FOUND,
    PERMISSION_DENIED,
    THROTTLED,
    UNAUTHENTICATED,
    VALIDATION_ERROR,
    Problem,
)

from orders.api import edge_refusals, problems
from orders.api.unavailable import UNAVAILABLE


@dataclass(frozen=True, kw_only=True)
class ProblemPage:
    """``placed``: whether the request has placed an order, or changed anything else. ``remedy``: what a client does about it.

    ``of_the_api``: whether a client of the API can meet it. The rest are answers of the admin's login, and of the framework where no operation uses them.
    """

    problem: Problem
    means: str
    placed: str
    remedy: str
    of_the_api: bool = True

    @property
    def code(self) -> str:
        return problems.code_of(self.problem)


_WRITTEN = (
    ProblemPage(
        problem=VALIDATION_ERROR,
        means="A field, a header or a parameter is wrong; or the body is not JSON. `errors` names each fault, with a `pointer` to its place and a "
        "`code`. Of more than 100 it names the first 100, and `more_errors` is true.",
        placed="no",
        remedy="Correct it, and ask again with the same key.",
    ),
    ProblemPage(
        problem=problems.BAD_REQUEST,
        means="The request cannot be read as it was sent: for example, it is no HTTP/1.1, its Content-Type names another encoding than UTF-8, its body is not "
        "packed as its headers say, or its Host is not one of the shop.",
        placed="no",
        remedy="Correct it, and ask again with the same key.",
    ),
    ProblemPage(
        problem=UNAUTHENTICATED,
        means="There is no valid token in the `Authorization` header. `reason` says why: `missing`, `malformed`, `unknown`, `expired`, `revoked`, or "
        "`inactive` (its client is not served any more).",
        placed="no",
        remedy="Send your token. If it was valid before, it has expired or was revoked: ask the shop for another one.",
    ),
    ProblemPage(
        problem=PERMISSION_DENIED,
        means="Your token is valid, and does not allow this operation.",
        placed="no",
        remedy="Ask the shop for a token that does.",
        of_the_api=False,
    ),
    ProblemPage(
        problem=problems.INSUFFICIENT_SCOPE,
        means="Your token is valid, and does not have the `scope` that this operation needs.",
        placed="no",
        remedy="Ask the shop to rotate your token with this scope. What a token may do never changes, so you get a new one.",
    ),
    ProblemPage(
        problem=problems.HTTPS_REQUIRED,
        means="The request came over plain HTTP.",
        placed="no",
        remedy="Ask over HTTPS, with a new token: the old one was sent in the clear.",
    ),
    ProblemPage(
        problem=NOT_FOUND,
        means="Nothing is there; or it belongs to another client. The two are not distinguished.",
        placed="no",
        remedy="Compare the number or the SKU with what you were given.",
    ),
    ProblemPage(
        problem=METHOD_NOT_ALLOWED,
        means="This path exists, and does not know this method. The `Allow` header lists those that it knows.",
        placed="no",
        remedy="Look the operation up in the reference.",
    ),
    ProblemPage(
        problem=problems.NOT_ACCEPTABLE,
        means="The `Accept` header asks for something else than JSON.",
        placed="no",
        remedy="Send `Accept: application/json`, or leave the header out.",
    ),
    ProblemPage(
        problem=problems.TOTAL_DIFFERS,
        means="The order costs `total_minor`, and not `expected_total_minor`. With `order`: this key has placed that order earlier, and it costs `total_minor`.",
        placed="no; with `order`: earlier",
        remedy="Show your customer the new total. With `order`: read that order.",
    ),
    ProblemPage(
        problem=problems.REFERENCE_TAKEN,
        means="You have chosen that each of your references stands for one order, and `order` has this one.",
        placed="not now",
        remedy="Read `order`.",
    ),
    ProblemPage(
        problem=problems.INVALID_STATE,
        means="The order cannot be cancelled now: its parcel has left, it has ended, or a person looks at it. `order_status` says how it stands.",
        placed="nothing was changed",
        remedy="Do what `allowed_actions` names, if it names anything.",
    ),
    ProblemPage(
        problem=problems.TOO_LARGE,
        means="The body has more than 256 KiB, or unpacks to more.",
        placed="no",
        remedy="Send fewer lines, or shorter texts. An order has 50 lines at most.",
    ),
    ProblemPage(
        problem=edge_refusals.TARGET_TOO_LONG,
        means="The request line has more than 8,190 bytes.",
        placed="no",
        remedy="Ask for less at once.",
    ),
    ProblemPage(
        problem=edge_refusals.HEADERS_TOO_LARGE,
        means="There are more than 64 headers, one has more than 8,190 bytes, or all together have more than 64 KiB.",
        placed="no",
        remedy="Leave out what is not needed.",
    ),
    ProblemPage(
        problem=edge_refusals.TIMED_OUT,
        means="The head of the request did not come within 10 seconds, or its body within 15 seconds more.",
        placed="no",
        remedy="Ask again with the same key.",
    ),
    ProblemPage(
        problem=edge_refusals.UNKNOWN_ENCODING,
        means="The body is packed in another way than by gzip (`Content-Encoding`), or more than once.",
        placed="no",
        remedy="Send it as it is, or packed by gzip.",
    ),
    ProblemPage(
        problem=edge_refusals.EXPECTATION_FAILED,
        means="The `Expect` header asks for something else than `100-continue`.",
        placed="no",
        remedy="Leave the header out.",
    ),
    ProblemPage(
        problem=edge_refusals.UNKNOWN_TRANSFER_CODING,
        means="The `Transfer-Encoding` is another than `chunked`.",
        placed="no",
        remedy="Send the body in chunks, or with its `Content-Length`.",
    ),
    ProblemPage(
        problem=problems.UNSUPPORTED_MEDIA_TYPE,
        means="The body is not JSON, or its Content-Type does not say so.",
        placed="no",
        remedy="Send `Content-Type: application/json`.",
    ),
    ProblemPage(
        problem=problems.KEY_REUSED,
        means="The key has placed `order`, from a body that orders something else; or this body is not valid (any more): then `errors` names each fault.",
        placed="not now",
        remedy="Read `order`. Another key would make a second order, so use one only where that is meant.",
    ),
    ProblemPage(
        problem=THROTTLED,
        means="You have sent more requests under this scope than you may within a minute. Other scopes are counted apart.",
        placed="no",
        remedy="Wait as long as `Retry-After` says, then ask again with the same key. `RateLimit-Remaining` of each answer says how many are left.",
    ),
    ProblemPage(
        problem=problems.TOO_MANY_LOGINS,
        means="Too many logins to the admin have failed. It is no answer of the API.",
        placed="no",
        remedy="Come again when `Retry-After` says.",
        of_the_api=False,
    ),
    ProblemPage(
        problem=problems.LOGIN_BUSY,
        means="Another password is being checked. It is no answer of the API.",
        placed="no",
        remedy="Come again when `Retry-After` says.",
        of_the_api=False,
    ),
    ProblemPage(
        problem=INTERNAL_ERROR,
        means="Something broke on our side.",
        placed="perhaps",
        remedy="Ask again with the same key, at growing intervals: nothing happens twice. If it lasts, send us the `request_id`.",
    ),
    ProblemPage(
        problem=UNAVAILABLE,
        means="Our database could not serve this request now.",
        placed="perhaps",
        remedy="Wait as long as `Retry-After` says, then ask again with the same key: nothing happens twice.",
    ),
    ProblemPage(
        problem=problems.NOT_TAKEN,
        means="The shop takes no orders until a person there has decided something.",
        placed="no",
        remedy="Ask again later, with the same key.",
    ),
    ProblemPage(
        problem=problems.OVERLOADED,
        means="More orders wait to be worked on than the shop gets through in good time. It takes new ones again as soon as enough of them are done.",
        placed="no",
        remedy="Wait as long as `Retry-After` says, then ask again with the same key. Reading, cancelling, and a retry of an order that was placed work as ever.",
    ),
)
PAGES = tuple(sorted(_WRITTEN, key=lambda page: (not page.of_the_api, page.problem.status)))

# The codes in ``errors``, and what each of them refuses.
FIELD_REFUSALS: tuple[tuple[tuple[str, ...], str], ...] = (
    (
        (
            "required",
            "blank",
            "null",
            "invalid",
            "min_value",
            "max_value",
            "max_length",
            "max_string_length",
            "empty",
            "not_a_list",
            "invalid_choice",
        ),
        "a field that is missing (of an address: one that its country needs), empty, of another type, or out of its bounds",
    ),
    (
        ("invalid",),
        "of `/customer/email`: it is no address; or our mail server cannot take it: letters before the @ that are not ASCII (a dotless i), a domain without an "
        "ASCII form",
    ),
    (("invalid_json", "empty_body"), "a body that cannot be read as JSON, or that is not there. `pointer` is empty: the whole of it"),
    (("unknown_field", "unknown_parameter"), "a name that is not known here"),
    (("unknown_value",), "a name in `expand` or `fields` that is not known there"),
    (("invalid",), "of `/cursor`: no list has given it, or one with other filters; of events: no event has this number yet"),
    (("empty_range",), "a range of instants that ends before it begins"),
    (
        ("control_character", "null_characters_not_allowed", "surrogate_characters_not_allowed"),
        "a line break, a tab or another control character in a text, one that turns the direction of writing, or half of a surrogate pair",
    ),
    (("invisible",), "a text of zero-width characters and blanks alone"),
    (
        ("card_number",),
        "a card number in a text that a person types: names, addresses, the e-mail address, the payment token. 13 to 19 digits, grouped or not, in any script, "
        "that begin as a brand of cards does and pass Luhn's check. It is neither stored nor logged. `reference`, `sku` and the Idempotency-Key are not checked",
    ),
    (
        ("duplicate_field", "duplicate_parameter"),
        "a field that stands twice in one object of the body, or a parameter that stands twice in the URL: readers differ in which one they take",
    ),
    (
        ("unknown_country", "unknown_state", "invalid_postal_code"),
        "`shipping_address`: a country that ISO 3166-1 does not have (the United Kingdom is `GB`), a state that the country does not have where it needs one, a "
        "postal code that is none there",
    ),
    (("foreign_currency",), "an order in another currency than the shop's"),
    (("unknown_sku", "duplicate_sku"), "a product that is not sold; two lines with one product"),
    (
        ("no_stock_level",),
        "a product of which the shop keeps no stock. It could be paid but not reserved. The sentence names the SKU",
    ),
    (("total_too_large",), "lines that cost more than an order may cost (999,999,999,999 minor units)"),
    (("test_value",), "a test card in a shop that was not started for tests"),
)


def page_of(slug: str) -> ProblemPage | None:
    """``slug``: the end of a problem's ``type``."""
    return next((page for page in PAGES if page.problem.slug == slug), None)
