"""A server for one image model: uploads in, JSON answers out, every result kept."""

__version__ = "0.1.0"
