"""pyinfra connectors: @replay answers from a recording of a host."""
