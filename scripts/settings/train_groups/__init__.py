"""The settings of a training, a module for each group; `scripts.settings.train` joins them."""
