"""A part of a list."""

from pydantic import BaseModel, Field


class Page(BaseModel):
    """A part of a list."""

    next: str | None = Field(description="Pass as `cursor` to get the next page; null: last page")
