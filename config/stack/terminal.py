"""What every command needs that runs a stack in a terminal: its options, and the addresses that it shows. The only module of the stack that reads the settings."""

from typing import Any

from django.conf import settings

from config.stack.options import StackOptions


def options_from_settings(with_flower: bool = True, in_maintenance: bool = False) -> StackOptions:
    return StackOptions(
        folder=settings.BASE_DIR,
        run_dir=settings.RUN_DIR,
        time_scale=settings.TIME_SCALE,
        database_url=settings.EXTERNAL_DATABASE_URL,
        broker_url=settings.EXTERNAL_BROKER_URL,
        web_port=settings.WEB_PORT,
        flower_port=settings.FLOWER_PORT,
        sandbox_port=settings.SANDBOX_PORT,
        mail_port=settings.MAIL_PORT,
        with_flower=with_flower,
        in_maintenance=in_maintenance,
    )


def links(info: dict[str, Any]) -> str:
    """Where a running stack answers, and its logins; ``info`` is what ``stack.json`` holds."""
    admin, flower = info["admin"], info["flower_login"]
    lines = [
        f"  Admin    {info['web']}/admin/   user {admin['username']}, password {admin['password']}",
        f"  Operator OPERATOR_TOKEN={info['operator_token']}   for manage.py decide and the like",
        f"  API      {info['api']}/orders   Authorization: Bearer {info['token']}",
        f"  Ledger   {info['sandbox']}/ledger   (the provider's own)",
    ]
    if info["flower"]:
        lines.append(f"  Flower   {info['flower']}   user {flower['username']}, password {flower['password']}")
    return "\n".join(lines)
