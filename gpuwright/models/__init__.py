"""Model files on a host: where they come from, how they travel, and what the store says it holds."""
