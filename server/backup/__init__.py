"""Backups: what stands on the remote, how it is written, and how it is read back."""
