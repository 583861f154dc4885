"""`patchgrid results groups`."""

from dataclasses import asdict

import click

from patchgrid.cli.context import Settings, with_settings
from patchgrid.cli.options import count_option, job_argument, method_option
from patchgrid.cli.terminal.screen import show_json
from patchgrid.cli.views.group_table import show_groups, show_one


@click.command()
@job_argument
@count_option(20, "Number of components.")
@click.option("--site", metavar="SITE", help="Only this site.")
@click.option("--component", metavar="NAME", help="Only this component, with every group's mean effect.")
@method_option
@with_settings
def groups(
    settings: Settings,
    /,
    name: str,
    count: int,
    site: str | None,
    component: str | None,
    method: str | None,
) -> None:
    """Show which components' effects differ between groups of pairs, such as templates.

    `spread` is the standard deviation of the groups' true mean effects, without what chance adds to it;
    `lowest` and `highest` are the two groups furthest apart. `differ` marks components whose groups do not
    all have the same mean effect, at a false discovery rate of 5 %.

    Pairs name their group in the field `group` of the pair file (--columns group=COLUMN); without it, pairs
    with the same clean prompt are a group.
    """
    with settings.backend() as source:
        job = source.job(name)
        found = source.groups(job, site=site, method=method, component=component, limit=count)
    if settings.json:
        show_json({"job": job.id, "groups": job.groups, **asdict(found)})
    elif component is not None:
        show_one(found, job)
    else:
        show_groups(found, job)
