"""What a job cannot be asked."""

from typing import Any

#: What is refused, behind the setting that it is about.
REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("sites", {"sites": ("zz",)}),
    ("method", {"sites": ("z", "edge"), "method": "atp"}),
    ("method", {"sites": ("edge", "z"), "method": "eap"}),
    ("method", {"method": "atpp"}),
    ("method", {"method": ","}),
    ("method", {"method": "atp,atp"}),
    ("method", {"method": "atp,eap"}),
    ("metric", {"metric": "logit_dif"}),
    ("metric", {"metric": "kl", "direction": "noise"}),
    ("direction", {"direction": "sideways"}),
    ("source", {"source": "median"}),
    ("positions", {"positions": "all"}),
    ("detail", {"detail": "everything"}),
    ("dtype", {"dtype": "int8"}),
    ("steps", {"method": "ig", "steps": 5000}),
    ("path", {"path": "elsewhere"}),
    ("path", {"path": "site"}),
    ("grad_drop", {"grad_drop": True}),
    ("exact", {"exact": 1.5}),
    ("seed", {"seed": -1}),
]
