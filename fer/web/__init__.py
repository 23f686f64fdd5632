"""The web page: `python -m fer.web`."""
