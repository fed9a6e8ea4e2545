"""`make bench`: this server beside its peers and the physical limit, in one run."""
