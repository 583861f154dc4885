"""Checks made when a model is loaded, and their remembered findings."""
