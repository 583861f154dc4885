"""The example notebook, executed in a Jupyter kernel."""

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

EXAMPLES = Path(__file__).parents[1] / "examples"
NOTEBOOK = EXAMPLES / "gifts.ipynb"


def outputs(notebook: Any, begin: str) -> list[Any]:
    """Return the outputs of the cell that has a line with this beginning."""
    [cell] = [cell for cell in notebook.cells if f"\n{begin}" in f"\n{cell.source}"]
    return list(cell.outputs)


def columns(output: Any) -> list[list[str]]:
    """Return the head of a dataframe and the first words of its first row."""
    return [line.split()[:2] for line in output.data["text/plain"].split("\n")[:2]]


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Run the notebook in a folder of its own, with the examples beside it."""
    folder = tmp_path_factory.mktemp("notebook")
    for name in ("demo_model", "pairs"):
        (folder / name).symlink_to(EXAMPLES / name)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(folder)}}).execute()
    return notebook


def test_the_notebook_shows_its_results(executed: Any) -> None:
    """Dataframes, pictures, and the same strongest components as the outputs that it is kept with."""
    shown = nbformat.read(NOTEBOOK, as_version=4)
    for begin in ("columns =", "job.verification()", "compared ="):
        [table], [kept] = outputs(executed, begin), outputs(shown, begin)
        assert "<table" in table.data["text/html"], begin
        assert columns(table) == columns(kept), begin
    for begin in ('job.plot("top")', 'job.plot("scatter"', "job.heatmap("):
        [picture] = outputs(executed, begin)
        assert picture.data["image/png"], begin
    every = [one for cell in executed.cells for one in cell.get("outputs", ())]
    assert not [one for one in every if one.output_type == "stream"]


def test_a_run_is_one_bar_in_a_notebook(executed: Any) -> None:
    """One output that moves, and the job; no lines."""
    bar, job = outputs(executed, "job = workspace.run")
    assert bar.output_type == "display_data"
    assert '<progress value="100.0" max="100"' in bar.data["text/html"]
    assert bar.data["text/plain"].startswith("100 of 100 pairs, ")
    assert job.data["text/plain"].startswith("<Job 1 (gifts) done: 100 of 100 pairs measured")
