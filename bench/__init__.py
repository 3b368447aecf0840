"""Our own claims, measured: one command each."""
