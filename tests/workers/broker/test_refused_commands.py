"""A broker that takes connections and refuses commands."""

from pathlib import Path

from support.cli.commands import patchgrid, start, write_pairs
from support.machines.servers import redis_server, wait_for

ROOT = Path(__file__).resolve().parents[3]
MODEL = ROOT / "examples" / "demo_model"


def test_a_worker_waits_for_a_full_redis_and_works_from_the_database(tmp_path: Path) -> None:
    """As for one that is unavailable: it says so once, polls, and hears messages again when there is room."""
    database = tmp_path / "test.db"
    pairs = write_pairs(tmp_path / "pairs.jsonl", 4)
    submitted = patchgrid("submit", pairs, "-m", MODEL, "--exact", "0", "--name", "one", "--db", database)
    assert submitted.exit_code == 0, submitted.output
    with redis_server() as server, server.client() as client:
        client.config_set("maxmemory", 1)
        options = ("--poll", "0.2", "--broker", server.url, "--db", database)
        with start("worker", "start", "-m", MODEL, *options) as worker:
            try:
                assert patchgrid("job", "wait", "one", "--db", database).exit_code == 0
                client.config_set("maxmemory", 0)
                wait_for(lambda: client.exists("_kombu.binding.celery.pidbox"))
            finally:
                worker.terminate()
                _, said = worker.communicate(timeout=60)
    assert worker.returncode == 0, said
    assert said.count("is unavailable (") == 1, said
    assert "'maxmemory'" in said
    assert "Celery:" not in said
