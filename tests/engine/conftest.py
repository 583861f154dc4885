"""Models that the engine's tests share, each made and loaded once a run."""

from collections.abc import Callable, Iterator

import pytest
import torch

from support.engine.cases import Case, demo_case, tiny_case


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Run tiny models on one thread: several only wait for one another."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def case_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Case]:
    """Return the case of a family, or of `demo_model`."""
    root = tmp_path_factory.mktemp("models")
    made: dict[str, Case] = {}

    def get(name: str) -> Case:
        if name not in made:
            made[name] = demo_case() if name == "demo_model" else tiny_case(name, root)
        return made[name]

    return get
