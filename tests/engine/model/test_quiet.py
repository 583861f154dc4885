"""Loading a model and measuring with it says nothing of what libraries have to say."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.engine.composites import save_composite
from support.engine.models import save_model

_SCRIPT = """
import sys, logging
logging.basicConfig(level=logging.WARNING)
from patchgrid.engine import Component, Engine, Pair
pair = Pair("When Mary and John went to the shop, John gave a ball to",
            "When Mary and John went to the shop, Mary gave a ball to", " Mary", " John")
for folder in sys.argv[1:]:
    engine = Engine.load(folder, device="cpu")
    engine.attribute([pair])
    engine.patch([pair], [Component("z", 1)])
"""


@pytest.mark.parametrize("families", [("gpt2", "gemma2", "opt"), ("mixtral", "llava", "qwen2_vl", "gemma3")])
def test_nothing_is_printed(families: tuple[str, ...], tmp_path: Path) -> None:
    """No warning, no log line, no bar, in a process of its own; generation flags that do not fit included."""
    folders = []
    for name in families:
        folder = tmp_path / name
        if name in ("llava", "qwen2_vl", "gemma3"):
            save_composite(name, folder)
        else:
            save_model(name, tmp_path)
        flags = {"do_sample": False, "temperature": 0.6, "top_p": 0.9, "pad_token_id": None}
        (folder / "generation_config.json").write_text(json.dumps(flags), encoding="utf-8")
        folders.append(str(folder))
    done = subprocess.run(
        [sys.executable, "-W", "default", "-c", _SCRIPT, *folders],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "PATCHGRID_CACHE": "none"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
