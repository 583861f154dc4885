"""A site's scores by a method against its exact effects: the figures."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SiteAgreement:
    """A site's scores by a method against its exact effects.

    Over cells each cell has the weight 1 / inclusion. Names that end in `_se` are standard errors, for the
    population that the job's pairs are a sample of. A figure that the cells do not determine is None.
    """

    #: One of `SITES`.
    site: str
    #: One of the job's methods.
    method: str
    #: Cells patched exactly.
    n: int
    #: All cells of the site: a cell is a component of a pair.
    cells: int
    #: Patched cells that the figures are made from: all, or of very many those of evenly spaced pairs.
    compared: int
    #: Pairs of these cells.
    pairs: int
    #: Components of the site.
    components: int
    #: Components whose means are compared: those with an interval from at least three patched cells,
    #: in effect.
    mean_n: int
    #: Pearson correlation of mean score and estimated mean effect over components, without the part of the
    #: estimates' spread that is their own error.
    mean_pearson: float | None
    mean_pearson_se: float | None
    #: Slope of estimated mean effect on mean score over components.
    mean_slope: float | None
    mean_slope_se: float | None
    #: Root mean square difference of mean scores and mean effects, both about their means over components, as
    #: a share of the effects' spread.
    mean_error: float | None
    mean_error_se: float | None
    #: Share of the square of that standard error that is the sampling of cells, which more cells would lower;
    #: the rest is that of pairs.
    mean_error_sampling: float | None
    #: Pearson correlation within components: of what differs from a component's own mean.
    within_pearson: float | None
    within_pearson_se: float | None
    #: Slope of effect on score within components.
    within_slope: float | None
    within_slope_se: float | None
    #: Pearson correlation over all cells.
    pearson: float | None
    pearson_se: float | None
    #: Slope of effect on score over all cells.
    slope: float | None
    slope_se: float | None
    #: Intercept of effect on score over all cells, metric units.
    intercept: float | None
    intercept_se: float | None
    #: Mean of effect - score over all cells, metric units.
    bias: float | None
    bias_se: float | None
    #: Compared cells that matter: those of largest |effect| that carry 95 % of the sum of |effect|.
    matter_n: int
    #: Share of all cells that matter.
    matter_share: float | None
    #: Share of the cells that matter whose score has the effect's sign.
    sign_agreement: float | None
    sign_agreement_se: float | None
    #: Spearman correlation over the cells that matter.
    spearman: float | None
    spearman_se: float | None
    #: How many top components are compared.
    top_k: int
    #: How many of the top components by |mean score| have a patched cell.
    top_patched: int
    #: Share of the top components by |mean score| that are top by |estimate| too; None where some of them
    #: were never patched, or where the site has no more components than are compared.
    top_overlap: float | None
    top_overlap_se: float | None
