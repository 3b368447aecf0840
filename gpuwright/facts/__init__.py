"""Facts: remote readings as data. The probe is one shell script, the parsers are pure."""

from gpuwright.facts.hostfacts import HostFacts, PciDevice, parse

__all__ = ["HostFacts", "PciDevice", "parse"]
