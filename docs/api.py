"""Write docs/api.md: every endpoint and document, as the OpenAPI schema has them."""

import json
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from patchgrid.api.server.app import make_app
from patchgrid.storage import Database

PAGE = Path(__file__).with_name("api.md")
_METHODS = ("get", "post", "delete")
_INTRODUCTION = """# The HTTP API

Made by `python docs/api.py` from the OpenAPI schema, which a running server gives at `/openapi.json`.

`patchgrid serve` starts it; [serve](serve.md) has limits and TLS, [tokens](tokens.md) who may do what.

```sh
patchgrid serve --model openai-community/gpt2 --port 8000      # open to this machine only
curl -s localhost:8000/v1/jobs | jq '.items[].job'
curl -s -F spec='{"model": "openai-community/gpt2"}' -F pairs=@pairs.jsonl localhost:8000/v1/jobs
curl -s -H 'Content-Type: application/x-ndjson' --data-binary @pairs.jsonl \\
    'localhost:8000/v1/jobs?model=openai-community/gpt2&sites=z,mlp_out'
curl -sN localhost:8000/v1/jobs/last/events
curl -s 'localhost:8000/v1/jobs/last/components?by=estimate&limit=20&format=csv'
```

With tokens (`patchgrid token create`), send `Authorization: Bearer TOKEN`. Scope `read` allows every GET;
`submit` also submitting, and controlling the token's own jobs; `admin` everything.

- **Errors** are `application/problem+json` (RFC 9457): `detail` says what to do, `errors` names lines, rows
  and fields. 429 and 503 have `Retry-After`. Unknown and duplicate query parameters are refused.
- **Lists**: pass `next` as `cursor` to get the next page. `format=csv` returns the same rows as a file, with
  the cursor in the header `X-Next-Cursor` and a `total` in `X-Total-Count`. Cells are not escaped: a
  spreadsheet may read a prompt that begins with `=` as a formula, so import such files as text.
- **Responses about ended jobs** have an `ETag`; `If-None-Match` avoids sending them again.
- **Submitting** is atomic and idempotent: a job is stored completely or not at all, and the same pairs and
  settings give the same job (201 the first time, 200 afterwards). `Idempotency-Key` makes retries safe.
- **Events**: `event: job` has the job's full status, at once and at every change; `event: end` is the last.
  A client that reconnects with `Last-Event-ID` gets no event twice.
"""


def document() -> dict[str, Any]:
    """Return the OpenAPI document of this version."""
    with tempfile.TemporaryDirectory() as folder, Database.open(f"sqlite:///{folder}/jobs.db") as database:
        return _with_enums(make_app(database).openapi())


def _with_enums(schema: dict[str, Any]) -> dict[str, Any]:
    """Put lists of names where the schema refers to them: they are too short for sections of their own."""
    text = json.dumps(schema)
    for name, shape in schema["components"]["schemas"].items():
        if "enum" in shape:
            text = text.replace(json.dumps({"$ref": f"#/components/schemas/{name}"}), json.dumps(shape))
    inlined: dict[str, Any] = json.loads(text)
    return inlined


def page() -> str:
    """Return the whole page."""
    schema = document()
    parts = [_INTRODUCTION, "## Endpoints\n"]
    for path, operations in schema["paths"].items():
        known = [method for method in _METHODS if method in operations]
        parts += ["\n".join(_endpoint(method, path, operations[method])) for method in known]
    parts.append("## Documents\n")
    shapes = schema["components"]["schemas"]
    parts += ["\n".join(_shape(name, shapes[name])) for name in shapes if "properties" in shapes[name]]
    return "\n".join(parts)


def _endpoint(method: str, path: str, operation: Mapping[str, Any]) -> Iterator[str]:
    yield f"### {method.upper()} {path}\n"
    yield operation.get("description", operation.get("summary", "")) + "\n"
    parameters = operation.get("parameters", [])
    if parameters:
        yield "| parameter | in | type | |\n| --- | --- | --- | --- |"
        for each in parameters:
            shape = each["schema"]
            text = each.get("description") or shape.get("description") or ""
            default = shape.get("default")
            given = _default(text, default)
            needed = ", needed" if each.get("required") else ""
            yield f"| `{each['name']}` | {each['in']}{needed} | {_type(shape)} | {_cell(text + given)} |"
        yield ""
    body = operation.get("requestBody")
    if body:
        yield f"Body: {', '.join(f'`{kind}`' for kind in body['content'])}. {body.get('description', '')}\n"
    answers = sorted(operation["responses"].items())
    yield f"Answers: {'; '.join(_answer(code, each) for code, each in answers)}.\n"


def _answer(code: str, answer: Mapping[str, Any]) -> str:
    kinds = [_type(each["schema"]) for each in answer.get("content", {}).values() if each.get("schema")]
    kinds = [each for each in kinds if each and "ProblemDetails" not in each]
    others = [kind for kind, each in answer.get("content", {}).items() if not each.get("schema")]
    others = [f"`{kind}`" for kind in others if "problem" not in kind]
    return " ".join([code, *(kinds or others)])


def _shape(name: str, shape: Mapping[str, Any]) -> Iterator[str]:
    yield f"### {name}\n"
    yield shape.get("description", "") + "\n"
    yield "| field | type | |\n| --- | --- | --- |"
    required = shape.get("required", ())
    for field, part in shape["properties"].items():
        text = part.get("description", "")
        text += _default(text, part.get("default"))
        optional = "" if field in required else ", optional"
        yield f"| `{field}` | {_type(part)}{optional} | {_cell(text.strip())} |"
    yield ""


def _type(shape: Mapping[str, Any]) -> str:
    if "$ref" in shape:
        name = shape["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in shape:
        return " or ".join(dict.fromkeys(_type(each) for each in shape["anyOf"]))
    if "enum" in shape or "const" in shape:
        return ", ".join(f"`{each}`" for each in shape.get("enum", [shape.get("const")]))
    kind = shape.get("type", "any")
    if kind == "array":
        inner = _type(shape.get("items", {}))
        return f"list of {inner}" if inner != "any" else "list"
    return {"object": "object", "null": "null"}.get(kind, str(kind))


def _default(text: str, value: object) -> str:
    """Say what is taken where nothing is given."""
    if value is None:
        return ""
    return f"{'.' if text and not text.endswith('.') else ''} Default: `{json.dumps(value)}`."


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    sys.stdout.write(f"wrote {PAGE}\n")
