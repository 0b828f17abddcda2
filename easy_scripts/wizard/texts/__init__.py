"""Every text of the windows, one JSON file a language; see catalogue.py."""
