"""Finds the private environment, judges whether it is whole, and hands work over to it."""
