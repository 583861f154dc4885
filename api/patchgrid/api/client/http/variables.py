"""Variables of the environment."""

#: Names the server where nothing else does.
SERVER_VARIABLE = "PATCHGRID_SERVER"
#: Holds the token where nothing else gives one.
TOKEN_VARIABLE = "PATCHGRID_TOKEN"  # noqa: S105 (its name, no token)
