"""wad: many WhatsApp numbers, one daemon, one HTTP API."""

__version__ = "0.1.0"
