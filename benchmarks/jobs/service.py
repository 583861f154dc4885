"""How fast the HTTP service answers while people read and submit and a worker works.

`python -m benchmarks.jobs.service`, on SQLite and PostgreSQL, each part in a process of its own: the
server, a worker on the demo model, and the clients (200 readers who ask about once a second, 20
submitters). Then what the server's memory does while one gigabyte is uploaded, and what each endpoint takes
where there are 10,000 jobs, one of them of a million pairs.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import quantiles
from typing import Any

import click

from benchmarks.common import shapes
from benchmarks.jobs.storage import KINDS, databases, say
from benchmarks.jobs.storing import make_pairs, store_sums, store_totals
from patchgrid.core.types import JobSpec
from patchgrid.storage import Database
from patchgrid.storage.access import tokens
from patchgrid.storage.jobs import jobs
from patchgrid.storage.queue import workers
from patchgrid.storage.queue.workers import WorkerInfo
from support.api.serving import Server, serving

#: Milliseconds that 99 of 100 questions about jobs and components take at most.
TARGET = 250
_BLOCK = 1 << 16


@contextmanager
def worker(url: str) -> Iterator[None]:
    """Run a worker on the demo model, one thread."""
    command = [sys.executable, "-m", "patchgrid.cli", "worker", "start", "-m", str(shapes.DEMO), "--db", url]
    process = subprocess.Popen(
        [*command, "--device", "cpu", "--poll", "1"],
        stderr=subprocess.DEVNULL,
        env=os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(60)


def options() -> tuple[object, ...]:
    """Return the server's options, without limits that a benchmark would reach."""
    return ("-m", shapes.DEMO, "--rate", 1_000_000, "--max-open-jobs", 1_000_000)


def cpu(process_id: int) -> float:
    """Return the CPU seconds that a process has used."""
    fields = Path(f"/proc/{process_id}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure_load(url: str, kind: str, **load: Any) -> dict[str, float]:
    """Let all ask and submit for a while."""
    with Database.open(url) as database, database.write() as session:
        _, token = tokens.create(session, "benchmark", ["submit"])
    with serving(url, *options()) as server, worker(url), server.client(token) as client:
        pairs = shapes.PAIRS.read_bytes()
        asked = {"model": str(shapes.DEMO), "limit": 64, "exact": 0.05}
        made = client.post("/v1/jobs", params=asked, content=pairs)
        assert made.status_code == 201, made.text
        path = made.headers["location"]
        while client.get(path).json()["state"] != "done":
            time.sleep(0.2)
        given = {"url": server.url, "token": token, "jobs": ["1", "last"], "model": str(shapes.DEMO), **load}
        before, start = cpu(server.process.pid), time.monotonic()
        clients = subprocess.run(
            [sys.executable, "-m", "benchmarks.jobs.http_load", json.dumps(given)],
            stdout=subprocess.PIPE,
            check=True,
            cwd=shapes.ROOT,
        )
        spent = time.monotonic() - start
        seen = json.loads(clients.stdout)
        found = {"server's memory (MB)": server.memory / 1e6}
        found["server's share of a core"] = (cpu(server.process.pid) - before) / spent
    found["clients' share of a core"] = seen["cpu"] / spent
    found["requests/s"] = sum(map(len, seen["times"].values())) / spent
    for what, times in sorted(seen["times"].items()):
        parts = quantiles(times, n=100) if len(times) > 1 else times * 99
        found |= {f"{what}, p{share} (ms)": 1000 * parts[share - 1] for share in (50, 95, 99)}
    found["errors"] = sum(seen["errors"].values())
    if seen["errors"]:
        print(f"errors: {seen['errors']}")
    return {f"{kind}: {name}": value for name, value in found.items()}


def upload(server: Server, size: int, *, form: bool) -> tuple[float, float]:
    """Send a file of so many bytes; give the most memory that the server had, and the seconds it took."""
    line = json.dumps(
        {"clean": "a " * 250_000, "corrupted": "b " * 250_000, "correct": "c", "incorrect": "d"}
    )
    rows, most, start = max(1, size // len(line)), 0, time.monotonic()

    def body() -> Iterator[bytes]:
        nonlocal most
        if form:
            yield b'--x\r\nContent-Disposition: form-data; name="spec"\r\n\r\n'
            yield json.dumps({"model": str(shapes.DEMO), "limit": 10}).encode()
            yield b'\r\n--x\r\nContent-Disposition: form-data; name="pairs"; filename="p"\r\n\r\n'
        for row in range(rows):
            yield line.replace("a ", f"a{row} ", 1).encode() + b"\n"
            most = max(most, server.memory)
        if form:
            yield b"\r\n--x--\r\n"

    kind = "multipart/form-data; boundary=x" if form else "application/x-ndjson"
    query = {} if form else {"model": str(shapes.DEMO), "limit": 10, "seed": 1}
    with server.client() as client:
        answer = client.post("/v1/jobs", content=body(), headers={"Content-Type": kind}, params=query)
    assert answer.status_code == 201, answer.text
    return max(most, server.memory) / 1e6, time.monotonic() - start


def measure_memory(url: str, kind: str, size: int) -> dict[str, float]:
    """Upload a large file in both ways."""
    found: dict[str, float] = {}
    with serving(url, *options()) as server:
        with server.client() as client:
            client.get("/v1/jobs")
        found["memory before (MB)"] = server.memory / 1e6
        for form in (False, True):
            way = "a form" if form else "a body"
            memory, seconds = upload(server, size, form=form)
            found[f"most memory, {size / 1e9:g} GB as {way} (MB)"] = memory
            found[f"time, {size / 1e9:g} GB as {way} (s)"] = seconds
    return {f"{kind}: {name}": value for name, value in found.items()}


def fill(database: Database, count: int, pairs: int) -> None:
    """Write one job of very many pairs, finished, and many of one."""
    with database.write() as session:
        workers.register(session, WorkerInfo("node/1/1", "node", 1, "cpu", ("gpt2",)))
        large = jobs.submit(session, JobSpec("gpt2"), make_pairs(pairs), key="large", count=pairs)
    store_sums(database, large)
    store_totals(database, large)
    for first in range(0, count, 500):
        with database.write() as session:
            for number in range(first, min(first + 500, count)):
                one = make_pairs(1)
                jobs.submit(session, JobSpec("gpt2"), one, key=f"small {number}", count=1, name=f"n{number}")


def measure_large(url: str, kind: str, count: int, pairs: int) -> dict[str, float]:
    """Ask each endpoint, of a large database, some times in turn."""
    with Database.open(url) as database:
        fill(database, count, pairs)
    paths = {
        "jobs": "/v1/jobs",
        "jobs, far on": f"/v1/jobs?search=n{count // 100}",
        "jobs by state": "/v1/jobs?state=failed",
        "job": "/v1/jobs/1",
        "last job": "/v1/jobs/last",
        "job by name": f"/v1/jobs/n{count // 2}",
        "components": "/v1/jobs/1/components",
        "top components": "/v1/jobs/1/components?by=estimate&limit=20",
        "heatmap": "/v1/jobs/1/heatmap?site=z",
        "pairs": "/v1/jobs/1/pairs",
        "pairs that failed": "/v1/jobs/1/pairs?state=failed",
        "pairs searched, a page of what is nowhere": "/v1/jobs/1/pairs?search=nowhere",
        "pair": f"/v1/jobs/1/pairs/{pairs // 2}",
        "exact": "/v1/jobs/1/exact",
        "verification": "/v1/jobs/1/verification",
        "workers": "/v1/workers",
        "queue": "/v1/queue",
        "models": "/v1/models",
        "metrics": "/metrics",
        "access": "/v1/access",
        "healthz": "/healthz",
    }
    found: dict[str, float] = {}
    with serving(url, *options()) as server, server.client() as client:
        for what, path in paths.items():
            times = []
            for _ in range(5):
                start = time.perf_counter()
                answer = client.get(path)
                times.append(time.perf_counter() - start)
                assert answer.status_code == 200, answer.text
            found[f"{what}, first (ms)"] = 1000 * times[0]
            found[f"{what}, then (ms)"] = 1000 * min(times[1:])
    return {f"{kind}: {name}": value for name, value in found.items()}


@click.command(help=__doc__)
@click.option("--seconds", default=60.0, show_default=True, help="Seconds of load; 0: none.")
@click.option("--readers", default=200, show_default=True)
@click.option("--submitters", default=20, show_default=True)
@click.option("--pairs", default=10, show_default=True, help="Pairs of a submitted job.")
@click.option("--every", default=4.0, show_default=True, help="Seconds between a submitter's jobs.")
@click.option(
    "--upload", "size", default=10**9, show_default=True, help="Bytes of the large upload; 0: none."
)
@click.option(
    "--jobs", "count", default=10_000, show_default=True, help="Jobs of the large database; 0: none."
)
@click.option("--large", default=1_000_000, show_default=True, help="Pairs of its large job.")
@click.option(
    "--databases", "kinds", multiple=True, default=KINDS, show_default=True, type=click.Choice(KINDS)
)
@click.option(
    "--json", "json_file", type=click.Path(path_type=Path), help="Write the figures to this file too."
)
def main(
    seconds: float,
    readers: int,
    submitters: int,
    pairs: int,
    every: float,
    size: int,
    count: int,
    large: int,
    kinds: Sequence[str],
    json_file: Path | None,
) -> None:
    found: dict[str, float] = {}
    load = {"seconds": seconds, "readers": readers, "submitters": submitters, "pairs": pairs, "every": every}
    for kind in kinds:
        with databases(kind) as new_url:
            if seconds:
                found |= say(measure_load(new_url(), kind, **load))
            if size and kind == "SQLite":
                found |= say(measure_memory(new_url(), kind, size))
            if count:
                found |= say(measure_large(new_url(), kind, count, large))
    if json_file is not None:
        setting = load | {"upload": size, "jobs": count, "large": large}
        json_file.write_text(json.dumps({"setting": setting, "figures": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
