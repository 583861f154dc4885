"""The examples for clusters are sound: Slurm scripts, Kubernetes objects, and what their pages say."""

import configparser
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from patchgrid.storage import Database
from patchgrid.storage.db import schema
from patchgrid.storage.queue import control, leases
from patchgrid.workers.broker.messages import send
from support.machines.deployment import (
    check_command,
    check_page,
    option_value,
    patchgrid_commands,
    read_dockerfile,
    sbatch_options,
)
from support.machines.keda import SCALED_OBJECT, TRIGGER_AUTHENTICATION
from support.machines.servers import Postgres, postgres_server, redis_server
from support.machines.slurm import SBATCH_OPTIONS
from support.storage.chunk_results import make_spec
from support.storage.storage_backends import submit_job

ROOT = Path(__file__).resolve().parents[1]
SLURM, KUBERNETES = ROOT / "examples" / "slurm", ROOT / "examples" / "kubernetes"
DOCKERFILE = read_dockerfile((ROOT / "Dockerfile").read_text(encoding="utf-8"))
MANIFESTS = sorted(KUBERNETES.rglob("*.yaml"))
SCRIPTS = [SLURM / "worker.sbatch", SLURM / "submit.sh"]


def objects(path: Path) -> list[dict[str, Any]]:
    """The objects of a manifest."""
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


def kubernetes_object(file: str, kind: str) -> Any:
    """The one object of a kind in a manifest."""
    [found] = [each for each in objects(KUBERNETES / file) if each["kind"] == kind]
    return found


# systemd


def test_the_unit_of_the_page_on_workers_starts_one_and_lets_it_stop() -> None:
    """Its command exists; a worker has its grace, a batch and ten seconds before it is killed."""
    page = (ROOT / "docs" / "workers.md").read_text(encoding="utf-8")
    [unit] = re.findall(r"^```ini\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(unit)
    service = parser["Service"]
    _, *words = shlex.split(service["ExecStart"])
    check_command(words)
    assert service["KillMode"] == "mixed"
    assert float(service["TimeoutStopSec"]) >= 25 + 30 + 10


# Slurm


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_bash(script: Path) -> None:
    """And end at the first error."""
    assert subprocess.run([bash(), "-n", script], capture_output=True, check=False).returncode == 0
    text = script.read_text(encoding="utf-8")
    assert text.startswith("#!/bin/bash\n")
    assert "\nset -euo pipefail\n" in text


def bash() -> str:
    """The shell."""
    found = shutil.which("bash")
    assert found is not None
    return found


def test_the_batch_script_s_options_are_sbatch_s() -> None:
    """Each by its long name and with a value of the right form."""
    options = sbatch_options((SLURM / "worker.sbatch").read_text(encoding="utf-8"))
    assert not set(options) - set(SBATCH_OPTIONS)
    for name, value in options.items():
        form = SBATCH_OPTIONS[name]
        assert value is None if form is None else re.fullmatch(form, value or ""), f"{name}={value}"
    assert options["--signal"] == "B:USR1@120"
    assert "--requeue" in options


def test_the_batch_script_passes_the_warning_on_and_goes_back_into_the_queue(tmp_path: Path) -> None:
    """With a stand-in for patchgrid, which hands back when it is warned, and for scontrol."""
    (tmp_path / "env").write_text("PATCHGRID_MODEL=m\n", encoding="utf-8")
    note = tmp_path / "note"
    stand_ins = {
        "patchgrid": f"trap 'sleep 1; echo warned >> {note}; exit 0' USR1; echo ready >> {note}\n"
        "while :; do sleep 0.05; done",
        "scontrol": f'echo "$@" >> {note}',
    }
    for name, text in stand_ins.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{text}\n", encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    environment = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "PATCHGRID_ENV": str(tmp_path / "env"),
        "SLURM_JOB_ID": "17",
    }
    script = (
        f'"{bash()}" "{SLURM / "worker.sbatch"}" & job=$!\n'
        f"until [ -s {note} ]; do sleep 0.02; done\n"
        "kill -USR1 $job; sleep 0.3; kill -TERM $job; wait $job"
    )
    done = subprocess.run(
        [bash(), "-c", script], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert note.read_text(encoding="utf-8").split("\n") == ["ready", "warned", "requeue 17", ""]


def test_no_script_knows_where_the_database_is() -> None:
    """That, and the passwords in it, is in a file that only its owner may read."""
    for script in SCRIPTS:
        text = script.read_text(encoding="utf-8")
        assert "PATCHGRID_ENV" in text
        assert "://" not in text
        assert "PATCHGRID_DB" not in text
    example = (SLURM / "patchgrid.env.example").read_text(encoding="utf-8")
    assert all(f"\n{name}=" in example for name in ("PATCHGRID_DB", "PATCHGRID_BROKER", "PATCHGRID_MODEL"))


# Kubernetes


@pytest.mark.parametrize("version", ["1.29", kubernetes_validate.latest_version()])
@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_objects_are_kubernetes(path: Path, version: str) -> None:
    """By the strict schemas of an old and the newest version; KEDA's by its documented fields."""
    for each in objects(path):
        api = each["apiVersion"].partition("/")[0]
        if api == "keda.sh":
            schemas = {"ScaledObject": SCALED_OBJECT, "TriggerAuthentication": TRIGGER_AUTHENTICATION}
            jsonschema.validate(each, schemas[each["kind"]])
        elif api == "kustomize.config.k8s.io":
            assert set(each) == {"apiVersion", "kind", "namespace", "resources"} | (each.keys() & {"images"})
            assert all((path.parent / resource).is_file() for resource in each["resources"])
        else:
            kubernetes_validate.validate(each, version, strict=True)


def test_the_worker_has_a_gpu_and_time_to_stop() -> None:
    """It is not killed within its grace time, and does not run as root."""
    pod = kubernetes_object("worker.yaml", "Deployment")["spec"]["template"]["spec"]
    [container] = pod["containers"]
    check_command(container["args"])
    assert pod["terminationGracePeriodSeconds"] > float(option_value(container["args"], "--grace")) + 10
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert pod["securityContext"]["runAsNonRoot"]
    # What would kill a worker because its database is away.
    assert "livenessProbe" not in container
    assert container["readinessProbe"]["exec"]["command"] == ["worker-healthy"]
    copies = [each.text for each in DOCKERFILE if each.name == "COPY"]
    assert any(text.endswith("/bin/worker-healthy") for text in copies)


def test_the_migration_s_command_exists() -> None:
    """The job's, which runs before the workers."""
    check_command(
        kubernetes_object("migrate.yaml", "Job")["spec"]["template"]["spec"]["containers"][0]["args"]
    )


def test_the_service_s_command_exists_and_it_is_asked_whether_it_is_well() -> None:
    """It asks for tokens, as it listens beyond its own machine; the port is the one that is probed."""
    [container] = kubernetes_object("api.yaml", "Deployment")["spec"]["template"]["spec"]["containers"]
    check_command(container["args"])
    assert "--require-token" in container["args"]
    [port] = container["ports"]
    assert option_value(container["args"], "--port") == str(port["containerPort"])
    assert container["readinessProbe"]["httpGet"] == {"path": "/healthz", "port": port["name"]}


def test_the_secret_s_form_has_nothing_to_use() -> None:
    """Only names to be replaced, and those that the objects ask for."""
    data = kubernetes_object("secret.example.yaml", "Secret")["stringData"]
    assert "USER:PASSWORD@DBHOST" in data["PATCHGRID_DB"]
    assert ":PASSWORD@REDISHOST" in data["PATCHGRID_BROKER"]
    assert data["HF_TOKEN"] == ""
    for file in ("keda.yaml", "keda-sql.yaml"):
        asked = kubernetes_object(file, "TriggerAuthentication")["spec"]["secretTargetRef"]
        assert {each["key"] for each in asked} <= set(data)


def test_keda_s_list_is_the_queue_of_the_worker_s_model() -> None:
    """Its length is that of what a submission sends there; one worker stays, which polls the database."""
    spec = kubernetes_object("keda.yaml", "ScaledObject")["spec"]
    assert spec["minReplicaCount"] >= 1
    metadata = spec["triggers"][0]["metadata"]
    [container] = kubernetes_object("worker.yaml", "Deployment")["spec"]["template"]["spec"]["containers"]
    with redis_server() as server, server.client() as client:
        assert client.llen(metadata["listName"]) == 0
        send(server.url, option_value(container["args"], "--model"), 3)
        assert client.llen(metadata["listName"]) == 3


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server."""
    with postgres_server() as server:
        yield server


@pytest.mark.parametrize("backend", ["sqlite", "postgresql"])
def test_keda_s_query_counts_what_there_is_to_do(
    backend: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Waiting and leased chunks of the worker's model: none of another, a paused job's or what is done."""
    [trigger] = kubernetes_object("keda-sql.yaml", "ScaledObject")["spec"]["triggers"]
    query = trigger["metadata"]["query"]
    [container] = kubernetes_object("worker.yaml", "Deployment")["spec"]["template"]["spec"]["containers"]
    model = option_value(container["args"], "--model")
    if backend == "sqlite":
        url = f"sqlite:///{tmp_path}/test.db"
        (tmp_path / "test.db").touch()
    else:
        server = request.getfixturevalue("postgres")
        url = server.url(server.new_database())
    schema.upgrade(url)
    with Database.open(url, create=False) as database:

        def count() -> int:
            with database.read() as session:
                return int(session.connection().exec_driver_sql(query).scalar_one())

        assert count() == 0
        job = submit_job(database, 10, spec=make_spec(model=model))
        submit_job(database, 10, spec=make_spec(model="another/model"))
        assert count() == 3
        with database.write() as session:
            lease = leases.claim(session, "me", models=[model])
        assert count() == 3
        with database.write() as session:
            control.pause(session, job.id)
        assert count() == 1
        with database.write() as session:
            assert lease is not None
            leases.release(session, lease)
        assert count() == 0
        with database.write() as session:
            control.unpause(session, job.id)
        assert count() == 3
        with database.write() as session:
            control.cancel(session, job.id)
        assert count() == 0


# What is typed


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_every_command_in_a_script_exists(script: Path) -> None:
    """With every option, and values of the right kind."""
    commands = list(patchgrid_commands(script.read_text(encoding="utf-8")))
    assert commands
    for words in commands:
        check_command(words)


@pytest.mark.parametrize("folder", [SLURM, KUBERNETES], ids=lambda path: path.name)
def test_the_pages_name_commands_that_exist(folder: Path) -> None:
    """With every option, and values of the right kind."""
    assert check_page(folder / "README.md")
