"""RabbitMQ as a child process: Debian's package, with a node, data, ports and a port mapper (epmd) of its own, all on loopback; nothing is left behind."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kombu

from config.stack.errors import StackError
from config.stack.ports import Port, listens
from config.stack.processes import Command

SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")  # the one in PATH insists on the system's user
HOW_TO_INSTALL = "RabbitMQ is not installed here. On Debian: `apt-get install -y rabbitmq-server`; then run this again."


@dataclass(frozen=True)
class RabbitMq:
    """Where it runs. ``commands`` are its two processes, in the order in which they start."""

    folder: Path
    reserved: list[Port]  # AMQP, distribution, port mapper: held as long as this lives

    @property
    def port(self) -> int:
        return self.reserved[0].number

    @property
    def distribution_port(self) -> int:
        return self.reserved[1].number

    @property
    def mapper_port(self) -> int:
        return self.reserved[2].number

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}//"

    def forget(self) -> None:
        """What an earlier run has left. Only for whoever holds the stack's lock: else it may be the folder of a broker that runs."""
        shutil.rmtree(self.folder, ignore_errors=True)  # its node is named after its port; a queue from an earlier run is nobody's

    def commands(self) -> list[Command]:
        mapper = shutil.which("epmd") or "epmd"
        env = self._env()
        return [
            Command("epmd", [mapper, "-address", "127.0.0.1", "-port", str(self.mapper_port)], env, lambda: listens(self.mapper_port)),
            Command("rabbitmq", [str(SERVER)], env, self.answers),
        ]

    def _env(self) -> dict[str, str]:
        """HOME holds the Erlang cookie; the plugins and settings of the system's own RabbitMQ are not read."""
        self.folder.mkdir(parents=True, exist_ok=True)
        plugins, settings = self.folder / "enabled_plugins", self.folder / "rabbitmq.conf"
        plugins.write_text("[].\n")
        settings.write_text(f"listeners.tcp.default = 127.0.0.1:{self.port}\nloopback_users.guest = true\n")
        return {
            "HOME": str(self.folder),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self.mapper_port),
            "RABBITMQ_NODENAME": f"prove-{self.port}@localhost",
            "RABBITMQ_BASE": str(self.folder),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_DIST_PORT": str(self.distribution_port),
            "RABBITMQ_CONFIG_FILE": str(settings),
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "rabbitmq-env.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(plugins),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        }

    def answers(self) -> bool:
        """It speaks AMQP, and lets us in."""
        if not listens(self.port):
            return False
        connection: Any = kombu.Connection(self.url, connect_timeout=2)
        try:
            connection.connect()
        except (OSError, *connection.connection_errors):
            return False
        finally:
            connection.release()
        return True


def choose(run_dir: Path) -> RabbitMq:
    """A RabbitMQ of ``run_dir``'s own, on free ports. Raises StackError with how to install it."""
    if not SERVER.exists() or not shutil.which("erl"):
        raise StackError(HOW_TO_INSTALL)
    ports = [Port(None, default, "") for default in (5700, 25_700, 4400)]
    return RabbitMq(run_dir / "rabbitmq", ports)
