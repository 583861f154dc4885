"""What a job cannot be asked: each refusal says which of its settings it is about."""

from typing import Any

import pytest

from patchgrid.core.errors import SpecError
from patchgrid.core.types import JobSpec
from support.engine.refused import REFUSED


@pytest.mark.parametrize(("field", "asked"), REFUSED)
def test_a_refusal_says_which_setting_it_is_about(field: str, asked: dict[str, Any]) -> None:
    """By the setting's own name."""
    with pytest.raises(SpecError) as refused:
        JobSpec.of("m", **asked)
    assert refused.value.field == field


def test_a_refusal_may_be_about_no_setting() -> None:
    """Its words are all that it has."""
    error = SpecError("no pair could be measured")
    assert (str(error), error.field) == ("no pair could be measured", None)
