"""Programs that we start open no black window of their own on Windows."""

import sys

# CREATE_NO_WINDOW, for the `creationflags` of every process but those that a console shows.
NO_CONSOLE = 0x08000000 if sys.platform == "win32" else 0
