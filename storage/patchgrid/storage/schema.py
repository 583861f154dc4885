"""The database's version: which it is, and bringing an older one up to date."""


def upgrade(url: str, *, timeout: float = 30) -> tuple[str | None, str]:
    """Bring a database to this patchgrid's version in one transaction; give the old and the new revision."""
    raise NotImplementedError
