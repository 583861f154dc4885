"""The HTTP application."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from anyio import to_thread
from fastapi import FastAPI

from patchgrid.api.routes import cluster, events, exports, jobs, page, pairs, results, session, submission
from patchgrid.api.schemas.request_models import JobRequest
from patchgrid.api.service.service import Service
from patchgrid.api.service.settings import ServerSettings
from patchgrid.api.web import problems
from patchgrid.api.web.compression import Compression
from patchgrid.api.web.headers import Guard
from patchgrid.api.web.queries import Queries
from patchgrid.storage import Database

#: Threads for database queries, and connections: more would only wait for the CPU.
THREADS = 24
_ABOUT = """Submit files of prompt pairs, follow jobs, and query results.

Errors are problem details (RFC 9457): `detail` says what to do, `errors` names lines and fields. Lists
continue with `next` as `cursor`. Without tokens the server is open, to its own machine alone.
"""


def make_app(database: Database, settings: ServerSettings | None = None) -> FastAPI:
    """Make the application for an open database."""
    service = Service(database, settings or ServerSettings())

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        to_thread.current_default_thread_limiter().total_tokens = THREADS
        yield
        await service.close()

    app = FastAPI(
        title="patchgrid",
        summary="Attribution patching over whole datasets, checked by sampled exact patching.",
        description=_ABOUT,
        version=version("patchgrid"),
        lifespan=lifespan,
        # Both pages would load from a CDN; docs/api.md has the same content.
        docs_url=None,
        redoc_url=None,
        # Paths are exact: /v1/jobs/ is a different path.
        redirect_slashes=False,
    )
    app.state.service = service
    problems.install(app)
    for part in (submission, jobs, results, pairs, exports, events, cluster, session, page):
        app.include_router(part.router)
    app.mount("/assets", page.assets())
    # Outermost: failures are answered by the framework's outermost layer.
    plain = app.build_middleware_stack
    app.build_middleware_stack = lambda: Compression(Guard(plain()))  # type: ignore[method-assign]
    _describe(app)
    app.state.queries = Queries(app.openapi)
    return app


def _describe(app: FastAPI) -> None:
    """Add the requests that are parsed by hand to the OpenAPI document."""
    plain = app.openapi

    def described() -> dict[str, object]:
        if app.openapi_schema is None:
            document = plain()
            schema = JobRequest.model_json_schema(ref_template="#/components/schemas/{model}")
            document["components"]["schemas"]["JobRequest"] = schema
            operation = document["paths"]["/v1/jobs"]["post"]
            required = schema.get("required", ())
            operation["parameters"] += [
                {"name": name, "in": "query", "required": False, "schema": part}
                | ({"description": "Required if the body is the pair file"} if name in required else {})
                for name, part in schema["properties"].items()
            ]
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = described  # type: ignore[method-assign]
