"""A part of a list."""

from pydantic import BaseModel, Field


class Page(BaseModel):
    """A part of a list."""

    next: str | None = Field(description="Give it as `cursor` for what follows; null: there is no more")
