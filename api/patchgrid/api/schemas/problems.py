"""What an error is answered with."""

from pydantic import BaseModel


class WrongPart(BaseModel):
    """What is wrong with a line or a field."""

    line: int | None = None
    row: int | None = None
    field: str | None = None
    detail: str


class ProblemDetails(BaseModel):
    """Why a request was not carried out (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    errors: list[WrongPart] | None = None
