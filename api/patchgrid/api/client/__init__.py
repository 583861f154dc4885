"""The client of patchgrid's HTTP service: used by notebooks and by the command line."""
