"""How the engine reads each site off a run and patches it, one mechanism a file; the records name theirs."""

from functools import cache
from importlib import import_module

from patchgrid.core.sites import SITES
from patchgrid.engine.sites.base import Access, Copies, Run


@cache
def access(name: str) -> Access:
    """Return what reads and patches a site: the class `Access` of the module that its record names."""
    site = SITES[name]
    made: Access = import_module(f"{__name__}.{site.module}").Access(site)
    return made


__all__ = ["Access", "Copies", "Run", "access"]
