"""A setting is written once: options, schema, form, calls and keys are made from the dataclasses' fields."""

import json
import subprocess
import sys
from pathlib import Path

import patchgrid.api.schemas.request_models
import patchgrid.cli.options
import patchgrid.core.methods
import patchgrid.engine.methods.atpstar

#: Gives `relp` an option that it does not have, and shows where it turns up.
SCRIPT = """
import dataclasses, inspect, json, sys
from patchgrid.core import methods
from patchgrid.core.settings import setting

@dataclasses.dataclass(frozen=True, slots=True)
class RelP(methods.RelP):
    temperature: float = setting(1.5, "Softmax temperature", label="Temperature", least=0.5, most=8)

methods.METHODS["relp"] = RelP

from click.testing import CliRunner
from patchgrid.api.server.app import make_app
from patchgrid.cli import main
from patchgrid.core.errors import SpecError
from patchgrid.core.spec import JobSpec
from patchgrid.engine import Engine
from patchgrid.storage.jobs.jobs import job_key

asked = JobSpec.of("m", method="atp,relp", temperature=2)
with_default, without = JobSpec.of("m", method="relp", temperature=1.5), JobSpec.of("m", method="relp")
refused = []
for values in ({"method": "atp", "temperature": 2}, {"method": "relp", "temperature": 9}, {"tempratur": 2}):
    try:
        JobSpec.of("m", **values)
    except SpecError as error:
        refused.append(str(error))
json.dump({
    "run": CliRunner().invoke(main, ["run", "--help"]).output,
    "submit": CliRunner().invoke(main, ["submit", "--help"]).output,
    "schema": make_app(None).openapi()["components"]["schemas"]["JobRequest"]["properties"]["temperature"],
    "call": str(inspect.signature(Engine.attribute).parameters["temperature"]),
    "method": [repr(method) for method in asked.query.methods],
    "spec": asked.as_dict(),
    "keys": [job_key(each, "pairs") for each in (asked.changed(temperature=3), asked, with_default, without)],
    "refused": refused,
}, sys.stdout)
"""


def test_an_option_of_a_method_is_written_once() -> None:
    """A field of its dataclass is an option of the commands, a part of the schema, the calls and the key."""
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    shown = json.loads(done.stdout)
    for command in ("run", "submit"):
        assert "--temperature X" in shown[command]
        assert "Softmax temperature. For relp." in " ".join(shown[command].split())
        assert "[default: 1.5]" in " ".join(shown[command].split())
    described = {"type": "number", "default": 1.5, "minimum": 0.5, "maximum": 8, "title": "Temperature"}
    assert described.items() <= shown["schema"].items()
    # The page's form shows it in its part for methods' options, where relp is chosen.
    assert (shown["schema"]["x-part"], shown["schema"]["x-methods"]) == ("method", ["relp"])
    assert shown["call"] == "temperature=1.5"
    assert shown["method"] == ["AtP()", "RelP(temperature=2.0)"]
    assert shown["spec"]["temperature"] == 2.0
    three, two, default, unnamed = shown["keys"]
    assert three != two
    assert default == unnamed
    assert shown["refused"] == [
        "temperature is an option of relp, not of atp",
        "temperature must be from 0.5 to 8, not 9.0",
        shown["refused"][2],
    ]
    assert "did you mean 'temperature'?" in shown["refused"][2]


def test_grad_drop_stands_in_its_dataclass_and_its_method_alone() -> None:
    """An option that further files name would have to be added there, too."""
    methods, computed = Path(patchgrid.core.methods.__file__), Path(patchgrid.engine.methods.atpstar.__file__)
    roots = [
        methods.parents[1],
        computed.parents[2],
        Path(patchgrid.api.schemas.request_models.__file__).parents[2],
        Path(patchgrid.cli.options.__file__).parents[1],
    ]
    found = {
        path
        for root in roots
        for path in root.rglob("*")
        if path.suffix in (".py", ".js", ".html")
        and any(name in path.read_text(encoding="utf-8") for name in ("grad_drop", "grad-drop", "gradDrop"))
    }
    assert found == {methods, computed}
