"""Errors that users can act on."""

#: Part of the error of a pair whose answer's token id is outside the vocabulary.
OUTSIDE_VOCABULARY = "is not in the model's vocabulary"

#: Exit code if a server or database is unavailable, as EX_UNAVAILABLE of sysexits(3): whether the job failed
#: is unknown.
UNAVAILABLE = 69


class PatchgridError(Exception):
    """An error that the user can fix; the command line prints it as one line and exits with `exit_code`.

    Its kinds are built-in errors as well: a wrong argument is a `ValueError`, a name that nothing has a
    `LookupError`, a missing package an `ImportError`.
    """

    #: Exit code of a command that ends with this error (2: bad usage or bad input).
    exit_code = 2


class SpecError(PatchgridError, ValueError):
    """A setting (site, method, metric, direction, …) that is unknown or not supported.

    `field` is the setting's name in `JobSpec`, or another argument (`component`); None: no single one.
    """

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class ArgumentError(SpecError, TypeError):
    """An argument of the wrong type, or one that is not taken."""


class ModelError(PatchgridError, ValueError):
    """A model that cannot be loaded, is not supported, or fails its self-check."""


class PairError(PatchgridError, ValueError):
    """A prompt pair that this model cannot measure, with the reason."""


class ComponentError(PatchgridError, ValueError):
    """A component that the model or the pair does not have."""
