"""The peers: the same work, served as each one's documentation advises."""
