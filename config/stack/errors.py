"""What keeps a stack from starting or stopping."""


class StackError(Exception):
    """The stack could not start or stop; the message says what, where and what to do."""


class PortLost(Exception):
    """Somebody else has taken the port of ``role`` since we chose it."""

    def __init__(self, role: str) -> None:
        super().__init__(role)
        self.role = role
