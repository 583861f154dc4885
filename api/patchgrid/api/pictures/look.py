"""Options for the look of a picture."""

import math
from dataclasses import dataclass

from patchgrid.api.pictures.errors import PictureError


@dataclass(frozen=True, slots=True)
class Look:
    """Title and scale of a picture."""

    #: None: the job's name and what is shown.
    title: str | None = None
    #: End of the colour scale, or of the axes, in metric units; None: the largest value.
    vmax: float | None = None

    def __post_init__(self) -> None:
        if self.vmax is not None and not (math.isfinite(self.vmax) and self.vmax > 0):
            raise PictureError(f"vmax {self.vmax:g} is out of range: give a number above 0")
