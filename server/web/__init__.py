"""The HTTP side: every URL, what it parses, what it answers."""
