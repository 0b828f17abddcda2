"""The settings of each command, declared once. Standard library only."""
