"""gpuwright: from a bare Ubuntu or Debian host with GPUs to a model that answers."""

from importlib.metadata import version

__version__ = version("gpuwright")
