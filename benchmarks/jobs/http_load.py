"""Clients of an HTTP service, many in one process: `python -m benchmarks.jobs.http_load URL`; prints JSON.

Each reader has a connection and asks about once a second, as a person or a page does; each submitter sends a
small job every few seconds. Requests are written by hand on raw connections, which costs little.
"""

import asyncio
import itertools
import json
import random
import resource
import sys
import time
from collections import defaultdict
from urllib.parse import urlsplit

#: What readers ask, in turn; `{job}` is one of the jobs given.
QUESTIONS = {
    "job": "/v1/jobs/{job}",
    "jobs": "/v1/jobs",
    "components": "/v1/jobs/{job}/components?by=estimate&limit=20",
    "pairs": "/v1/jobs/{job}/pairs",
    "heatmap": "/v1/jobs/{job}/heatmap?site=z",
    "verification": "/v1/jobs/{job}/verification",
    "pair": "/v1/jobs/{job}/pairs/0",
    "workers": "/v1/workers",
}
_TEMPLATE = "When {a} and {b} went to the {place}, {x} gave a {thing} to"
_NAMES = ("Mary", "John", "Tom", "Anna", "Paul", "Jane", "Mark", "Sarah")
_PLACES = ("shop", "park", "house", "school", "store", "garden", "office", "station")
_THINGS = ("ball", "book", "drink", "ring", "bone", "snack", "necklace", "computer")


class Connection:
    """One connection, kept; made again where it was lost."""

    def __init__(self, url: str, token: str) -> None:
        parts = urlsplit(url)
        self._token = token
        self._host, self._port = parts.hostname, parts.port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """Send a request, and give the answer's status and body."""
        if self._writer is None or self._reader is None:
            self._reader, self._writer = await asyncio.open_connection(self._host, self._port)
        head = f"{method} {path} HTTP/1.1\r\nHost: {self._host}:{self._port}\r\nContent-Type: text/csv\r\n"
        head += f"Authorization: Bearer {self._token}\r\n"
        self._writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        await self._writer.drain()
        lines = (await self._reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n")
        length = next(int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length:"))
        return int(lines[0].split()[1]), await self._reader.readexactly(length)

    def lose(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._writer = None


class Load:
    """All clients, and what they saw."""

    def __init__(self, url: str, token: str, jobs: list[str], model: str, seconds: float) -> None:
        self.url, self.token, self.jobs, self.model = url, token, jobs, model
        self.end = time.monotonic() + seconds
        self.times: dict[str, list[float]] = defaultdict(list)
        self.errors: dict[str, int] = defaultdict(int)
        self.numbers = itertools.count(random.randrange(10**9))

    async def reader(self) -> None:
        """Ask one thing after another, about once a second."""
        connection = Connection(self.url, self.token)
        await asyncio.sleep(random.random())
        for kind in itertools.cycle(random.sample(sorted(QUESTIONS), len(QUESTIONS))):
            if time.monotonic() > self.end:
                return
            start = time.monotonic()
            # The first job is done; what waits or goes on may have no such answer yet.
            job = random.choice(self.jobs) if kind in ("job", "components", "pairs") else self.jobs[0]
            await self.timed(kind, connection, "GET", QUESTIONS[kind].format(job=job))
            await asyncio.sleep(max(0.0, random.uniform(0.8, 1.2) - (time.monotonic() - start)))

    async def submitter(self, pairs: int, every: float) -> None:
        """Submit a small job now and then."""
        connection = Connection(self.url, self.token)
        await asyncio.sleep(random.random() * every)
        while time.monotonic() < self.end:
            path = f"/v1/jobs?model={self.model}&sites=z&exact=0.02&seed={next(self.numbers)}"
            await self.timed("submit", connection, "POST", path, pair_file(pairs))
            await asyncio.sleep(random.uniform(0.5, 1.5) * every)

    async def timed(self, kind: str, connection: Connection, *request: object) -> None:
        start = time.perf_counter()
        try:
            status, _ = await connection.ask(*request)  # type: ignore[arg-type]
        except (OSError, asyncio.IncompleteReadError) as error:
            connection.lose()
            self.errors[f"{kind}: {type(error).__name__}"] += 1
            return
        self.times[kind].append(time.perf_counter() - start)
        if status not in (200, 201):
            self.errors[f"{kind}: {status}"] += 1


def pair_file(count: int) -> bytes:
    """Return a file of new pairs."""
    rows = ["clean,corrupted,correct,incorrect"]
    for _ in range(count):
        a, b = random.sample(_NAMES, 2)
        values = {"a": a, "b": b, "place": random.choice(_PLACES), "thing": random.choice(_THINGS)}
        clean, corrupted = (f'"{_TEMPLATE.format(x=x, **values)}"' for x in (b, a))
        rows.append(f"{clean},{corrupted}, {a}, {b}")
    return "\n".join(rows).encode()


async def run(load: Load, readers: int, submitters: int, pairs: int, every: float) -> None:
    tasks = [load.reader() for _ in range(readers)]
    tasks += [load.submitter(pairs, every) for _ in range(submitters)]
    await asyncio.gather(*tasks)


def main() -> None:
    given = json.loads(sys.argv[1])
    load = Load(given["url"], given["token"], given["jobs"], given["model"], given["seconds"])
    names = ("readers", "submitters", "pairs", "every")
    asyncio.run(run(load, **{name: given[name] for name in names}))
    used = resource.getrusage(resource.RUSAGE_SELF)
    document = {"times": load.times, "errors": load.errors, "cpu": used.ru_utime + used.ru_stime}
    print(json.dumps(document))


if __name__ == "__main__":
    main()
