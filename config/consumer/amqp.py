"""RabbitMQ passes on whatever a publisher has put into a message's properties.

What the client library cannot read would break the connection, and come back on the next one.
"""

from typing import Any

from amqp import basic_message, method_framing
from kombu.transport import pyamqp

FRAMES: Any = method_framing
PlainMessage: Any = basic_message.Message
PlainChannel: Any = pyamqp.Channel
PlainConnection: Any = pyamqp.Connection
PlainTransport: Any = pyamqp.Transport


class Message(PlainMessage):
    """Without any properties where they cannot be read: then it has no content type, and the consumer refuses it."""

    def _load_properties(self, class_id: int, buf: Any, offset: int) -> int:
        try:
            return int(super()._load_properties(class_id, buf, offset))
        except Exception:  # whatever the bytes say
            self.properties: dict[str, Any] = {}
            return offset


class Channel(PlainChannel):
    def message_to_python(self, raw_message: Any) -> Any:
        """Never unpacked: we compress nothing, and a small message may become a very large one."""
        headers = raw_message.properties.get("application_headers")
        if isinstance(headers, dict) and headers.get("compression"):
            raw_message.properties["content_type"] = "compressed"
            del headers["compression"]
        return super().message_to_python(raw_message)


class Connection(PlainConnection):
    Channel = Channel


class Transport(PlainTransport):
    Connection = Connection

    def establish_connection(self) -> Any:
        FRAMES.Message = Message  # the only way in: the library names the class where it reads frames
        return super().establish_connection()
