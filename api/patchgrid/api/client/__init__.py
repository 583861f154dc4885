"""The client of patchgrid's HTTP service: what notebooks use, and what the command line asks servers by."""
