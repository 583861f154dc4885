"""What can go wrong, each error with a message a person can act on."""

#: What the reason of a pair says whose answer's token id the model does not have.
OUTSIDE_VOCABULARY = "is not in the model's vocabulary"

#: Exit code of commands that could not reach a server or a database, as sysexits(3) has it (EX_UNAVAILABLE):
#: whether the job failed is not known.
UNAVAILABLE = 69


class PatchgridError(Exception):
    """Something the user can put right; the command line prints it as one line and exits with `exit_code`."""

    #: Exit code of a command that ends with this error (2: bad usage or bad input).
    exit_code = 2


class SpecError(PatchgridError):
    """A site, method, metric, direction or other setting that does not exist or does not fit.

    `field` is the one it is about, by its name in `JobSpec` or among what else was asked (`component`), or
    None: it is about none of them.
    """

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class ModelError(PatchgridError):
    """A model that cannot be loaded, is not understood, or fails its self-check."""


class PairError(PatchgridError):
    """A prompt pair that this model cannot measure, with the reason."""


class ComponentError(PatchgridError):
    """A component that the model or the pair does not have."""
