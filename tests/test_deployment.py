"""The compose file and the images are sound."""

import importlib.resources
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import psycopg
import pytest
import yaml
from sqlalchemy import make_url, text
from sqlalchemy.exc import DBAPIError

from patchgrid.storage import Database
from patchgrid.storage.queue import metrics, workers
from support.api.serving import serving
from support.machines.deployment import (
    EXACT_IMAGE,
    check_command,
    interpolate,
    is_ignored,
    option_value,
    read_dockerfile,
)
from support.machines.servers import postgres_server, redis_server
from support.storage.storage_backends import run_job, submit_job

ROOT = Path(__file__).resolve().parents[1]
COMPOSE = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
DOCKERFILE = read_dockerfile((ROOT / "Dockerfile").read_text(encoding="utf-8"))
DOCKERIGNORE = (ROOT / ".dockerignore").read_text(encoding="utf-8")
MONITORING = ROOT / "docs" / "monitoring.md"
SETTINGS = {"POSTGRES_PASSWORD": "one", "REDIS_PASSWORD": "two", "PATCHGRID_MODEL": "some/model"}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """The compose file with variables put in."""
    document: dict[str, Any] = interpolate(yaml.safe_load(COMPOSE), SETTINGS)
    return document


def example_settings() -> dict[str, str]:
    """The variables of `.env.example`."""
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    pairs = [line.partition("=") for line in lines if line and not line.startswith("#")]
    return {name: value for name, _, value in pairs}


def seconds(text: str) -> float:
    """Read `90s` or `1m30s`."""
    parts = re.findall(r"(\d+)([hms])", text)
    assert "".join(number + unit for number, unit in parts) == text
    return sum(int(number) * {"h": 3600, "m": 60, "s": 1}[unit] for number, unit in parts)


# docker compose


def test_the_compose_file_is_one_by_the_compose_specification(compose: dict[str, Any]) -> None:
    """By the schema that check-jsonschema brings, before and after variables are put in."""
    folder = importlib.resources.files("check_jsonschema") / "builtin_schemas" / "vendor"
    specification = json.loads((folder / "compose-spec.json").read_text(encoding="utf-8"))
    for document in (yaml.safe_load(COMPOSE), compose):
        jsonschema.validate(document, specification)


def test_the_compose_file_s_variables_are_those_of_the_example() -> None:
    """Neither has one that the other lacks."""
    used = set(re.findall(r"\$\{(\w+)", COMPOSE))
    assert used == set(example_settings())


def test_nothing_starts_without_passwords_of_one_s_own() -> None:
    """The example has none, and with none set docker compose refuses the file."""
    example = example_settings()
    for name in ("POSTGRES_PASSWORD", "REDIS_PASSWORD"):
        assert example[name] == ""
        assert not re.search(rf"\$\{{{name}(?!:\?)", COMPOSE), f"{name} is optional somewhere"
    assert example["HF_TOKEN"] == ""
    with pytest.raises(KeyError, match="PASSWORD: set it in"):
        interpolate(yaml.safe_load(COMPOSE), example)


def test_servers_are_pinned_checked_and_reached_from_this_machine_only(compose: dict[str, Any]) -> None:
    """Every port is on the loopback; redis and postgres have exact versions and health checks."""
    services = compose["services"]
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert len(ports) >= 3
    assert all(port.startswith("127.0.0.1:") for port in ports), ports
    assert services["api"]["healthcheck"]["test"][0] == "CMD"
    for name in ("redis", "postgres"):
        assert re.fullmatch(EXACT_IMAGE, services[name]["image"])
        assert services[name]["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL")
    assert services["redis"]["environment"]["REDISCLI_AUTH"] == SETTINGS["REDIS_PASSWORD"]
    assert "/var/lib/postgresql/data" in services["postgres"]["volumes"][0]


def test_the_worker_waits_for_the_migration_and_has_time_to_stop(compose: dict[str, Any]) -> None:
    """It starts on a database of its version, has the GPUs, and is not killed within its grace time."""
    worker = compose["services"]["worker"]
    assert worker["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
    assert compose["services"]["migrate"]["depends_on"]["postgres"] == {"condition": "service_healthy"}
    assert seconds(worker["stop_grace_period"]) > float(option_value(worker["command"], "--grace")) + 10
    assert worker["stop_signal"] == "SIGTERM"
    assert worker["restart"] == "unless-stopped"
    [device] = worker["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}


def test_the_services_commands_exist(compose: dict[str, Any]) -> None:
    """What runs in containers is on the command line."""
    for name in ("migrate", "worker", "api"):
        check_command(compose["services"][name]["command"])


def test_flower_starts_on_request_and_with_a_password_only(compose: dict[str, Any]) -> None:
    """It is in a profile, reads the broker's URL from a variable, and refuses to start without a password."""
    flower = compose["services"]["flower"]
    assert flower["profiles"] == ["flower"]
    environment, [script] = flower["environment"], flower["command"]
    assert (
        environment["CELERY_BROKER_URL"] == compose["services"]["worker"]["environment"]["PATCHGRID_BROKER"]
    )
    assert environment["FLOWER_BASIC_AUTH"] == "flower:"
    done = subprocess.run(
        [*flower["entrypoint"], script.replace("$$", "$")],
        env={"PATH": os.environ["PATH"], "FLOWER_PASSWORD": environment["FLOWER_PASSWORD"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, "set FLOWER_PASSWORD in .env\n")


def test_the_service_is_healthy_and_answers_nobody_without_a_token(
    compose: dict[str, Any], tmp_path: Path
) -> None:
    """The compose file's own command and healthcheck, on another port and database."""
    api = compose["services"]["api"]
    words = [word if word != "8000" else "0" for word in api["command"] if word != "0.0.0.0"]
    words.remove("--host")
    with serving(f"sqlite:///{tmp_path}/jobs.db", *words[1:]) as server:
        assert healthy(api["healthcheck"]["test"], server.url) == 0
        with server.client() as client:
            assert client.get("/v1/jobs").status_code == 401
    assert healthy(api["healthcheck"]["test"], server.url) != 0, "a service that is gone is not healthy"
    assert seconds(api["stop_grace_period"]) > 20


def healthy(check: list[str], url: str) -> int:
    """Run a healthcheck against a server elsewhere; give its exit code."""
    kind, program, *words = check
    assert (kind, program) == ("CMD", "python")
    there = [word.replace("http://127.0.0.1:8000", url) for word in words]
    return subprocess.run([sys.executable, *there], capture_output=True, check=False).returncode


def test_the_role_of_the_database_owns_its_tables_and_nothing_else(compose: dict[str, Any]) -> None:
    """As the compose file makes it; the superuser has no password any more."""
    (script,) = (config for config in compose["services"]["postgres"]["configs"])
    assert script["target"].startswith("/docker-entrypoint-initdb.d/")
    statements = re.search(r"<<'SQL'\n(.*)\nSQL", compose["configs"]["role"]["content"], re.DOTALL)
    assert statements is not None
    user = re.match(
        r"postgresql\+psycopg://(\w+):(\w+)@", compose["services"]["migrate"]["environment"]["PATCHGRID_DB"]
    )
    assert user is not None
    # The tests' own server has a superuser of this name.
    made = re.sub(r"\b(ROLE|TO) patchgrid\b", r"\1 app", statements[1]).replace(":'password'", f"'{user[2]}'")
    with postgres_server() as server:
        server.execute("CREATE DATABASE patchgrid")
        server.execute("CREATE ROLE postgres SUPERUSER PASSWORD 'known'")
        owner = make_url(server.url("patchgrid"))
        address = owner.set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(address) as connection:
            for statement in made.split(";\n"):
                connection.execute(statement.encode())
        assert server.execute("SELECT rolpassword IS NULL FROM pg_authid WHERE rolname = 'postgres'") == [
            (True,)
        ]
        with Database.open(owner.set(username="app", password=user[2]).render_as_string(False)) as database:
            run_job(database, submit_job(database, 5))
            with database.read() as session:
                owners = session.scalars(
                    text("SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'")
                )
                assert owners.all() == ["app"]
            for forbidden in (
                "CREATE DATABASE other",
                "CREATE ROLE other",
                "COPY job TO PROGRAM 'id'",
                "CREATE SCHEMA other",
            ):
                with (
                    database.engine.connect() as connection,
                    pytest.raises(DBAPIError, match="InsufficientPrivilege"),
                ):
                    connection.execution_options(isolation_level="AUTOCOMMIT").execute(text(forbidden))


def test_redis_takes_its_configuration(compose: dict[str, Any]) -> None:
    """A real one, each setting of the file that compose gives it."""
    lines = compose["configs"]["redis"]["content"].splitlines()
    settings = dict(line.split(maxsplit=1) for line in lines)
    assert settings.pop("requirepass") == SETTINGS["REDIS_PASSWORD"]
    with redis_server(password="two") as server, server.client() as client:
        for name, value in settings.items():
            client.config_set(name, value.strip('"'))
        found = {name: client.config_get(name)[name] for name in settings}
    expected = {"maxmemory-policy": "noeviction", "save": "", "appendonly": "no"}
    assert found == expected | {"maxmemory": str(256 * 1024**2)}


# Images


def test_images_are_made_from_exact_versions() -> None:
    """Of every base image, and of every package by the constraints."""
    arguments = dict(each.text.split("=", 1) for each in DOCKERFILE if each.name == "ARG")
    stages: set[str] = set()
    for each in DOCKERFILE:
        if each.name == "FROM":
            image, _, stage = each.text.split()
            image = re.sub(r"\$\{(\w+)\}", lambda match: arguments[match[1]], image)
            assert image in stages or re.fullmatch(EXACT_IMAGE, image), image
            stages.add(stage)
        if each.name == "RUN" and "pip install" in each.text:
            assert "--constraint" in each.text, each.text
    assert {"slim", "worker"} <= stages


def test_images_run_as_a_user_known_by_number() -> None:
    """The last user of the stage that both images are made from is not root."""
    users = [each.text for each in DOCKERFILE if each.name == "USER"]
    assert users
    assert all(re.fullmatch(r"[1-9]\d*:[1-9]\d*", user) for user in users)
    froms = [each.text.split() for each in DOCKERFILE if each.name == "FROM"]
    assert [stage for image, _, stage in froms if image == "base"] == ["slim", "worker"]
    names = [each.name for each in DOCKERFILE]
    assert "HEALTHCHECK" in names[names.index("USER") :]


def test_what_images_are_made_of_is_there_and_not_ignored() -> None:
    """Each source of a COPY exists, and every file of the wheel comes through .dockerignore."""
    sources = []
    for each in DOCKERFILE:
        words = [word for word in each.text.split() if not word.startswith("--")]
        if each.name == "COPY" and "--from=" not in each.text:
            sources += words[:-1]
    assert "constraints.txt" in sources
    for source in sources:
        assert (ROOT / source).exists(), source
        assert not is_ignored(f"{source}/any" if (ROOT / source).is_dir() else source, DOCKERIGNORE) or (
            source == "examples"
        ), source
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    packaged = re.findall(r'^"(examples/[^"]+)" = "', project, re.MULTILINE)
    assert len(packaged) >= 6
    assert not [path for path in packaged if is_ignored(path, DOCKERIGNORE)]


def test_no_secret_and_no_result_goes_to_the_builder() -> None:
    """Whatever lies in the checkout."""
    for path in (
        ".env",
        ".git/config",
        ".venv/bin/python",
        "patchgrid.db",
        "examples/pairs/ioi.csv",
        "x.pem",
    ):
        assert is_ignored(path, DOCKERIGNORE), path


def test_the_images_commands_exist() -> None:
    """Those that run when no other is given."""
    commands = [json.loads(each.text) for each in DOCKERFILE if each.name == "CMD"]
    assert len(commands) == 2
    for command in commands:
        check_command([word for word in command if word != "--help"], whole=False)


def test_the_healthcheck_tells_a_worker_that_is_heard_of(tmp_path: Path) -> None:
    """It fails without a database, without a worker here, and when the worker has stopped."""
    url = f"sqlite:///{tmp_path}/test.db"

    def check() -> subprocess.CompletedProcess[str]:
        program = [sys.executable, str(ROOT / "docker" / "worker_healthy.py")]
        environment = os.environ | {"PATCHGRID_DB": url}
        return subprocess.run(program, env=environment, capture_output=True, text=True, check=False)

    nothing = check()
    assert nothing.returncode == 1
    assert "does not exist" in nothing.stderr
    assert "Traceback" not in nothing.stderr
    host = os.uname().nodename
    with Database.open(url) as database:
        assert "no worker on" in check().stderr
        with database.write() as session:
            me = workers.register(session, workers.WorkerInfo("me", host, 1, "cpu", ("m",)))
        assert check().returncode == 0
        with database.write() as session:
            workers.stop(session, me, workers.WorkerStatus("idle"))
        assert check().returncode == 1


def test_the_page_on_monitoring_names_metrics_that_exist(tmp_path: Path) -> None:
    """Those of its alerts, as a database with one worker gives them."""
    with Database.open(f"sqlite:///{tmp_path}/test.db") as database:
        with database.write() as session:
            workers.register(session, workers.WorkerInfo("me", "here", 1, "cpu", ("m",)))
        with database.read() as session:
            found, records = metrics.queues(session), workers.list_workers(session)
        text = metrics.prometheus_text(metrics.with_messages(found, None), records)
    given = set(re.findall(r"^# TYPE (\w+)", text, re.MULTILINE))
    named = set(re.findall(r"\b(patchgrid_[a-z_]+)\b", MONITORING.read_text(encoding="utf-8")))
    assert len(named) >= 5
    assert named <= given, named - given
