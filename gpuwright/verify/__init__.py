"""Is a host as declared? Readings in few round trips, one check per sentence, and a verdict for each."""
