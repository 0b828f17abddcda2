"""Errors, settings declaration, events and safe file handling. Standard library only."""
