"""The pages of the training wizard, one a module."""
