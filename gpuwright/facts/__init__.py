"""Facts: remote readings as data. The probe is one shell script, the parsers are pure."""

from gpuwright.facts.model import AMD, NVIDIA, HostFacts, PciDevice
from gpuwright.facts.parse import parse

__all__ = ["AMD", "NVIDIA", "HostFacts", "PciDevice", "parse"]
