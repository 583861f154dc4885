"""`python -m patchgrid.cli`."""

from patchgrid.cli.root import main

main()
