"""Promise: an argument that makes no sense is refused at once, in a sentence that says which one and why."""

from collections.abc import Sequence

import pytest
from django.core.management import get_commands, load_command_class

WRONG = {
    "prune": [
        ("--batch", "0", "is not a whole number above 0"),
        ("--rate", "0", "is not a number above 0"),
        ("--rate", "2000000", "is not a number above 0, at most 1e+06"),
    ],
    "simulate": [
        ("--minutes", "0", "is not a number above 0"),
        ("--minutes", "nan", "is not a number above 0"),
        ("--minutes", "inf", "is not a number above 0"),
        ("--histories", "-1", "is not a whole number above 0"),
        ("--histories", "0", "is not a whole number above 0"),
        ("--jobs", "0", "is not a whole number above 0"),
        ("--moves", "-1", "is not a whole number above 0"),
        ("--moves", "2.5", "is not a whole number above 0"),
        ("--floor", "-1", "is neither 0 nor a whole number above it"),
        ("--seed", "-1", "is neither 0 nor a whole number above it"),
        ("--only", "-1", "is neither 0 nor a whole number above it"),
    ],
    "prove": [
        ("--floor", "-1", "is neither 0 nor a whole number above it"),
        ("--floor", "many", "is neither 0 nor a whole number above it"),
        ("--through", "foo", "is not SETTING=URL: there is no setting 'foo'"),
        ("--through", "MINE_URL=http://127.0.0.1:9100", "is not SETTING=URL: there is no setting 'MINE_URL'"),
        ("--through", "__doc__=http://127.0.0.1:9100", "is not SETTING=URL: there is no setting '__doc__'"),
        *(
            ("--through", f"SANDBOX_URL={url}", f"is not SETTING=URL: {url!r} is not http:// or https:// with a host")
            for url in ("", "127.0.0.1:9100", "ftp://127.0.0.1", "http://", "http://a b", "http://127.0.0.1:99999", "http://127.0.0.1:0")
        ),
    ],
}
RIGHT = [
    ("prune", ["--only=history", "--only=incidents", "--batch=1", "--rate=0.1", "--dry-run"]),
    ("simulate", ["--minutes=0.5", "--histories=1", "--jobs=1", "--moves=1", "--floor=0", "--seed=0", "--only=0"]),
    ("prove", ["--floor=0", "--through=SANDBOX_URL=http://127.0.0.1:9100", "--through=FLOWER_URL=https://provider.example/v2"]),
]


@pytest.mark.parametrize(("command", "option", "value", "why"), [(command, *wrong) for command in WRONG for wrong in WRONG[command]])
def test_a_wrong_argument_is_named(command: str, option: str, value: str, why: str, capsys: pytest.CaptureFixture[str]) -> None:
    """I mistype a number, and nothing is started."""
    with pytest.raises(SystemExit) as ended:
        load_command_class(str(get_commands()[command]), command).run_from_argv(["manage.py", command, f"{option}={value}"])

    assert ended.value.code == 2
    assert f"argument {option}: '{value}' {why}" in capsys.readouterr().err


def test_a_provider_that_is_given_twice_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    words = [f"--through=SANDBOX_URL=http://127.0.0.1:{port}" for port in (9100, 9200)]
    with pytest.raises(SystemExit):
        load_command_class("tests.proofs", "prove").run_from_argv(["manage.py", "prove", *words])

    assert "SANDBOX_URL is given twice: http://127.0.0.1:9100 and http://127.0.0.1:9200" in capsys.readouterr().err


@pytest.mark.parametrize(("command", "words"), RIGHT)
def test_the_least_that_makes_sense_is_taken(command: str, words: Sequence[str]) -> None:
    load_command_class(str(get_commands()[command]), command).create_parser("manage.py", command).parse_args(list(words))
