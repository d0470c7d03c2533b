"""What the peers' own command lines load, and how each peer enqueues; one module a peer."""
