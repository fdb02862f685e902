"""What a person may write: nothing that controls a terminal or hides itself, something that can be seen, and no card number. What is kept of a stranger's words.
And how a number of things is written.
"""

import re
from collections.abc import Container, Iterator
from unicodedata import category, decimal

# Of the control characters, those too that put the text around them into another order: an operator would read another name than was written.
CONTROLS = frozenset({"Cc", "Zl", "Zp"})
REORDERING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
EMPTY_LETTERS = frozenset("\u115f\u1160\u3164\uffa0\u2800")  # letters and symbols by their category, and blank on every screen

# By the code of the refusal, in the words of the API and of the admin.
REFUSED = {
    "control_character": "Control characters are refused: line breaks, tabs, and what turns the direction of writing.",
    "invisible": "Nothing of this can be seen.",
    "card_number": "This looks like a card number.",
}
UNPRINTABLE = "\N{REPLACEMENT CHARACTER}"

SHORTEST, LONGEST = 13, 19  # digits of a card number, ISO/IEC 7812
LONGEST_PHONE = 15  # digits, E.164; written with a + before them
SEPARATORS = frozenset("._/·*,|:")
MAX_SEPARATORS = 3  # between two digits of one number

# (first digits, how many digits in all). Length and Luhn's check alone take every tenth number for a card: an order number, a parcel's, a phone's.
BRANDS: tuple[tuple[str, Container[int]], ...] = (
    ("4", (13, 16, 19)),  # Visa
    ("5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720", (16,)),  # Mastercard
    ("3[47]", (15,)),  # American Express
    ("30[0-5]|3095|3[689]", range(14, 20)),  # Diners Club
    ("6011|64[4-9]|65", range(16, 20)),  # Discover
    ("62|81", range(16, 20)),  # UnionPay
    ("35(2[89]|[3-8])", range(16, 20)),  # JCB
    ("5018|5020|5038|5893|6304|6759|676[1-3]", range(13, 20)),  # Maestro
    ("220[0-4]", range(16, 20)),  # Mir
    ("60|82|508", (16,)),  # RuPay
    ("9792", (16,)),  # Troy
    ("506[01]", (16, 18, 19)),  # Verve
)
FIRST_DIGITS = {
    length: re.compile("|".join(first for first, lengths in BRANDS if length in lengths)) for length in range(SHORTEST, LONGEST + 1)
}


def has_control(text: str) -> bool:
    """A character that is none: a line break, a tab, an escape, a change of direction."""
    return any(category(letter) in CONTROLS or letter in REORDERING for letter in text)


def sanitized(text: object, longest: int) -> str:
    """The one gate for words from outside (a provider's code, a mail server's answer, a listing) before they are stored: at most ``longest`` characters, and no
    character that a database refuses (NUL, half of a surrogate pair), that controls a terminal, or that turns the text around it.
    """
    return "".join(map(_printable, str(text)[:longest]))


def _printable(letter: str) -> str:
    if letter in "\n\r\t":
        return " "
    return UNPRINTABLE if category(letter) in CONTROLS or category(letter) == "Cs" or letter in REORDERING else letter


def counted(count: int, thing: str, verb: str = "") -> str:
    """As in "1 order" and "2 orders"; with the verb "wait", as in "1 order waits" and "2 orders wait"."""
    if count == 1:
        return f"1 {thing} {verb}s" if verb else f"1 {thing}"
    return f"{count} {_plural(thing)} {verb}".rstrip()


def _plural(thing: str) -> str:
    if thing.endswith("y"):
        return f"{thing[:-1]}ies"
    return f"{thing}es" if thing.endswith("s") else f"{thing}s"


def can_be_seen(text: str) -> bool:
    """False: only spaces, zero-width characters and blanks of other kinds."""
    return any(category(letter)[0] in "LNPS" and letter not in EMPTY_LETTERS for letter in text)


def can_be_written_to(address: str) -> bool:
    """Whether our mail server can be given this e-mail address. Django takes a dotless i for an i, an empty name in quotes, and a domain that has no ASCII form."""
    name, _, domain = address.rpartition("@")
    try:
        domain.encode("idna")
    except UnicodeError:
        return False
    return name.isascii() and bool(name.strip('"'))


def has_card_number(text: str) -> bool:
    """Digits as a card has them: how many, of a brand, with Luhn's check digit; in whatever script, and however they are grouped.

    A number begins and ends where a group does, so no part of a longer number is taken for a card. The time that it takes grows as ``text`` does.
    """
    return any(_is_card(number) for follows_plus, groups in _numbers_in(text) for number in _joined(groups, follows_plus))


def _numbers_in(text: str) -> Iterator[tuple[bool, list[str]]]:
    """Runs of digits with only separators between them, in their groups; and whether a + stands before the first. Of a group that is too long for a card no more
    is kept than shows that.
    """
    groups: list[str] = []
    follows_plus, waiting, separators = False, False, 0
    for letter in [*text, "\n"]:
        digit = decimal(letter, None)
        if digit is not None:
            if not groups:
                follows_plus = waiting
            if not groups or separators:
                groups.append("")
            if len(groups[-1]) <= LONGEST:
                groups[-1] += str(digit)
            separators = 0
        elif groups and separators < MAX_SEPARATORS and _separates(letter):
            separators += category(letter) != "Cf"  # what has no width separates nothing
        elif groups:
            yield follows_plus, groups
            groups, separators = [], 0
        waiting = letter == "+"


def _separates(letter: str) -> bool:
    return letter in SEPARATORS or category(letter) in ("Zs", "Pd", "Cf")


def _joined(groups: list[str], follows_plus: bool) -> Iterator[str]:
    """Every number of a card's length that begins and ends where groups do; without what is a phone's."""
    for first in range(len(groups)):
        number = ""
        for group in groups[first : first + LONGEST]:
            number += group
            if len(number) > LONGEST:
                break
            if len(number) >= SHORTEST and not (follows_plus and first == 0 and len(number) <= LONGEST_PHONE):
                yield number


def _is_card(number: str) -> bool:
    return bool(FIRST_DIGITS[len(number)].match(number)) and _passes_luhn(number)


def _passes_luhn(number: str) -> bool:
    doubled = (sum(divmod(2 * int(digit), 10)) for digit in number[-2::-2])
    return (sum(int(digit) for digit in number[-1::-2]) + sum(doubled)) % 10 == 0
