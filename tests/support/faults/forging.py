"""Messages as `send` puts them on a queue, and others that look like them."""

import base64
import json
from collections.abc import Iterator
from typing import Any

from patchgrid.workers.broker.messages import TASK

#: What no header of ours ever is.
_NASTY: tuple[Any, ...] = (7, "x", [7], {"a": 1}, [[[]]], "", -1.5, True)


def body(content: object) -> str:
    """Encode what a message holds: arguments, keyword arguments and Celery's options."""
    return base64.b64encode(json.dumps(content).encode()).decode()


def message(model: str = "stand-in") -> dict[str, Any]:
    """Return a message for a model as it lies in Redis."""
    number = "11111111-2222-3333-4444-555555555555"
    options = dict.fromkeys(("callbacks", "errbacks", "chain", "chord"))
    headers: dict[str, Any] = dict.fromkeys(("shadow", "eta", "expires", "group", "group_index", "parent_id"))
    headers |= {"lang": "py", "task": TASK, "id": number, "root_id": number, "retries": 0, "stamps": {}}
    headers |= {"timelimit": [None, None], "argsrepr": "()", "kwargsrepr": "{}", "ignore_result": True}
    headers |= {"origin": "gen1@host", "replaced_task_nesting": 0, "stamped_headers": None}
    return {
        "body": body([[], {"model": model}, options]),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": headers,
        "properties": {
            "correlation_id": number,
            "reply_to": number,
            "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": f"patchgrid.{model}"},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": number,
        },
    }


def changed(**values: Any) -> bytes:
    """Return a message with parts of it replaced."""
    return json.dumps(message() | values).encode()


def header(**values: Any) -> bytes:
    """Return a message with headers replaced."""
    return changed(headers=message()["headers"] | values)


def forged() -> Iterator[bytes]:
    """Yield over 200 messages with each part replaced by what it never is, or left out."""
    whole = message()
    for value in _NASTY:
        for name in whole["headers"]:
            if value != whole["headers"][name]:
                yield header(**{name: value})
        for name in whole["properties"]:
            if name != "delivery_tag" or isinstance(value, str):
                yield changed(properties=whole["properties"] | {name: value})
        for name in whole.keys() - {"properties"}:
            yield changed(**{name: value})
        yield changed(body=body(value))
        for place in range(3):
            content: list[Any] = [[], {"model": "stand-in"}, {}]
            content[place] = value
            yield changed(body=body(content))
        yield changed(body=body([[], {"model": value}, {}]))
        yield changed(body=body([[], {"model": "stand-in"}, {"chord": value, "callbacks": value}]))
    for name in whole["headers"]:
        yield changed(headers={key: value for key, value in whole["headers"].items() if key != name})
