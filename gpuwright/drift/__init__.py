"""What a run would change, host by host, without changing it."""
