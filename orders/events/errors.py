"""Why a recorded payload cannot be read by this code."""


class EventError(Exception):
    """A recorded event cannot be read. Do not raise this directly."""


class InvalidPayload(EventError):
    """The payload does not match the schema of its event. The message names the field, and quotes no value: it may be anything.

    Has money or stock moved? That is not known from it.
    What the operator does: reads the fact's payload, mends what has written it, and replays the dead letter with code that can read it.
    """


class NewerVersion(EventError):
    """Newer code has recorded the event, and this code does not know what it means.

    Has money or stock moved? As the event says.
    What the operator does: nothing during a deploy; newer code delivers it.
    """
