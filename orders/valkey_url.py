"""The address of a Valkey, which is written as Celery reads it, for its own client."""


def for_client(url: str) -> str:
    return url.replace("redis+socket://", "unix://", 1).replace("virtual_host=", "db=", 1)
