"""How scores and exact effects agree, as a table: a line a site."""

from collections.abc import Sequence

from patchgrid.cli.figures import ratio
from patchgrid.cli.tables import Column, show_table
from patchgrid.storage.verification import SiteAgreement


def show_agreement(sites: Sequence[SiteAgreement], title: str | None = None) -> None:
    """Print the verification of each site, with the size of the sample it comes from."""
    columns = [Column("site")] + [
        Column(name, number=True)
        for name in ("cells", "Pearson", "Spearman", "slope", "same sign", "top-k overlap")
    ]
    show_table(columns, [_cells(site) for site in sites], title)


def _cells(site: SiteAgreement) -> list[str]:
    numbers = [site.pearson, site.spearman, site.slope, site.sign_agreement]
    return [site.site, f"{site.n:,}", *map(ratio, numbers), _overlap(site)]


def _overlap(site: SiteAgreement) -> str:
    if site.top_overlap is None:
        return "-"
    shared = round(site.top_overlap * site.top_k)
    return f"{shared} of {site.top_k} (of {site.components:,})"
