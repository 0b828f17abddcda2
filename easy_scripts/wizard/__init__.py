"""The frame of every wizard: window, pages, rows, child process, theme. It knows nothing of LoRAs.

A wizard is a `Plan` (a name, a settings class, pages) given to `show_wizard`; see window.py.
"""
