"""Where the parts of one stack answer: their ports, their URLs, and the logins to them."""

from pathlib import Path

from config.stack.errors import StackError
from config.stack.options import StackOptions
from config.stack.ports import Port, PortTaken
from config.stack.run_directory import secret

DEFAULT_PORTS = {"web": 8000, "flower": 5555, "sandbox": 8900, "mail": 2525}


class Addresses:
    """``ports``: by role, once they are reserved."""

    def __init__(self, options: StackOptions, run_dir: Path) -> None:
        self.options = options
        self.run_dir = run_dir
        self.ports: dict[str, Port] = {}

    def reserve(self) -> None:
        """Raises StackError: a port that was asked for is taken, or none is free."""
        asked = {
            "web": self.options.web_port,
            "flower": self.options.flower_port,
            "sandbox": self.options.sandbox_port,
            "mail": self.options.mail_port,
        }
        try:
            for role, default in DEFAULT_PORTS.items():
                self.ports[role] = Port(asked[role], default, f"{role.upper()}_PORT")
        except PortTaken as taken:
            raise StackError(str(taken)) from None

    def move(self, role: str) -> str:
        """Somebody else has the port of ``role``: take another one. Returns a sentence. Raises StackError: the port was asked for by name."""
        was = self.ports[role].number
        try:
            self.ports[role].move()
        except PortTaken as taken:
            raise StackError(str(taken)) from None
        return f"port {was} was taken by somebody else meanwhile: {role} moves to {self.ports[role].number}"

    def release(self) -> None:
        for port in self.ports.values():
            port.release()

    def number(self, role: str) -> str:
        return str(self.ports[role].number)

    def url(self, role: str) -> str:
        return f"http://127.0.0.1:{self.number(role)}"

    def flower_url(self) -> str:
        """Empty where there is none."""
        return "" if "flower" in self.options.left_out else self.url("flower")

    def flower_login(self) -> dict[str, str]:
        return {"username": "operator", "password": secret(self.run_dir / "flower_password")}

    def email_url(self) -> str:
        return f"smtp://shop:{secret(self.run_dir / 'mail_password')}@127.0.0.1:{self.number('mail')}"
