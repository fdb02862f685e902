"""A message of this shop is the one that Celery would send, made with half of the calls.

Celery reads its configuration, its routes and the options of a task anew for each message, and prints the arguments with care for values that may be anything.
What this shop publishes all the time has an id, named arguments of plain values, and a chain at most. All else goes Celery's own way. So does the sending itself:
signals, retries, and what becomes of an error are Celery's. tests/config/test_publishing.py compares the messages.
"""

from typing import Any

from celery.app.amqp import task_message
from celery.contrib.django.task import DjangoTask
from celery.utils.nodenames import anon_nodename

PlainTask: Any = DjangoTask
PLAIN_OPTIONS = {"chain", "link_error", "parent_id", "producer", "root_id", "task_id"}
PLAIN_VALUES = (int, str)


class Task(PlainTask):  # type: ignore[misc]
    """The class of every task (``task_cls``)."""

    abstract = True

    def apply_async(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        if args or not options.get("task_id") or not options.keys() <= PLAIN_OPTIONS or not _are_plain(kwargs):
            return super().apply_async(args, kwargs, **options)
        _template(self).publish(kwargs, **options)
        return None


def _are_plain(arguments: Any) -> bool:
    return type(arguments) is dict and all(type(value) in PLAIN_VALUES for value in arguments.values())


class Template:
    """What is the same in every message of a task: its configuration does not change while a process lives."""

    def __init__(self, task: Any) -> None:
        self.task, self.app = task, task.app
        options = dict(task._get_exec_options())
        self.limits = [options.pop("time_limit"), options.pop("soft_time_limit")]
        assert (
            options.pop("expires") is None and task.ignore_result
        )  # no message of this shop is discarded for its age, and no result is kept
        self.options = self.app.amqp.router.route(options, task.name, (), {}, task)
        self.declared = f"{self.options['queue'].name} was declared"

    def publish(
        self,
        kwargs: dict[str, Any],
        task_id: str,
        chain: Any = None,
        link_error: Any = None,
        parent_id: Any = None,
        root_id: Any = None,
        producer: Any = None,
    ) -> None:
        """As ``apply_async``, and raises what that raises. There is no result to wait for."""
        if not (root_id and parent_id) and (parent := self.app.current_worker_task):
            root_id, parent_id = root_id or parent.request.root_id or parent.request.id, parent_id or parent.request.id
        headers = {
            "lang": "py",
            "task": self.task.name,
            "id": task_id,
            "shadow": None,
            "eta": None,
            "expires": None,
            "group": None,
            "group_index": None,
            "retries": 0,
            "timelimit": self.limits,
            "root_id": root_id or task_id,
            "parent_id": parent_id,
            "argsrepr": "()",
            "kwargsrepr": repr(kwargs),
            "origin": anon_nodename(),
            "ignore_result": True,
            "replaced_task_nesting": 0,
            "stamped_headers": None,
            "stamps": {},
        }
        properties = {"correlation_id": task_id, "reply_to": self.app.thread_oid}
        embedded = {"callbacks": None, "errbacks": link_error, "chain": chain, "chord": None}
        message = task_message(headers, properties, ((), kwargs, embedded), None)
        with self.app.producer_or_acquire(producer) as acquired, acquired.connection._reraise_as_library_errors():
            self._send(acquired, message)

    def _send(self, producer: Any, message: Any) -> None:
        """Valkey makes a queue when something is put into it. What else a declaration does there needs to be done once on a connection."""
        connection = producer.connection
        if self.declared in connection.declared_entities:  # the connection forgets it when it connects anew
            self.app.amqp.send_task_message(producer, self.task.name, message, declare=[], **self.options)
            return
        self.app.amqp.send_task_message(producer, self.task.name, message, **self.options)
        if connection.transport.driver_type == "redis":
            connection.declared_entities.add(self.declared)


_templates: dict[str, Template] = {}


def _template(task: Any) -> Template:
    if (known := _templates.get(task.name)) is None:
        known = _templates[task.name] = Template(task)
    return known
