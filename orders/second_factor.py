"""The second factor of an operator: a TOTP app (RFC 6238) and recovery codes, as django-otp keeps them.

Whoever has the password and no app yet enrols one at the next login. A code opens once; wrong ones make the next try wait 1, 2, 4, 8 … seconds.
"""

import logging
from base64 import b32encode

from django.contrib.auth.models import User
from django.db import transaction
from django_otp import verify_token
from django_otp.models import Device
from django_otp.plugins.otp_static.models import StaticDevice, StaticToken
from django_otp.plugins.otp_totp.models import TOTPDevice

log = logging.getLogger(__name__)

RECOVERY_CODES = 10


def is_enrolled(user: User) -> bool:
    return bool(TOTPDevice.objects.filter(user=user, confirmed=True).exists())


def app_to_enrol(user: User) -> TOTPDevice:
    """The same secret until a code of it has been seen: a page that is loaded again shows it again."""
    waiting: TOTPDevice | None = TOTPDevice.objects.filter(user=user, confirmed=False).order_by("id").first()
    return waiting or TOTPDevice.objects.create(user=user, name="app", confirmed=False)


def secret_of(app: TOTPDevice) -> str:
    """As a person types it into the app, in groups of four."""
    text = b32encode(app.bin_key).decode().rstrip("=")
    return " ".join(text[at : at + 4] for at in range(0, len(text), 4))


def enrol(user: User, code: str) -> tuple[Device, list[str]] | None:
    """The app, and recovery codes that are shown this once. None: the code is not of this app, or wrong ones came just before."""
    app = verify_token(user, app_to_enrol(user).persistent_id, _typed(code))
    if app is None:
        return None
    with transaction.atomic():
        app.confirmed = True
        app.save(update_fields=["confirmed"])
        kept = StaticDevice.objects.create(user=user, name="recovery codes")
        codes = [StaticToken.random_token() for _ in range(RECOVERY_CODES)]
        StaticToken.objects.bulk_create([StaticToken(device=kept, token=code) for code in codes])
    log.warning("second factor enrolled user=%r", user.get_username())
    return app, codes


def opened_by(user: User, code: str) -> Device | None:
    """What accepts the code: the app if it has six digits, else the recovery codes. None: nothing does, or wrong ones came just before."""
    typed = _typed(code)
    kind = TOTPDevice if typed.isdecimal() else StaticDevice
    device = kind.objects.filter(user=user, confirmed=True).first()
    accepted: Device | None = verify_token(user, device.persistent_id, typed) if device else None
    if accepted is None:
        log.warning("second factor refused user=%r", user.get_username())
    elif kind is StaticDevice:
        log.warning("recovery code used user=%r", user.get_username())
    return accepted


def reset(user: User) -> bool:
    """App and recovery codes open nothing any more, sessions included; the next login enrols anew. False: there were none."""
    removed = [kind.objects.filter(user=user).delete()[0] for kind in (TOTPDevice, StaticDevice)]
    if any(removed):
        log.warning("second factor reset user=%r", user.get_username())
    return any(removed)


def _typed(code: str) -> str:
    return "".join(code.split()).lower()
