"""llama.cpp: llama-server, configured by LLAMA_ARG_* variables as in Debian's llama-server.service."""

from __future__ import annotations

from gpuwright.plan.model import Model
from gpuwright.settings import ServiceDeclaration

KEY = "LLAMA_API_KEY"
SOURCE = "llama.cpp tools/server/README.md (b11434); Debian llama.cpp-services 0.7.0"


def refuses(model: Model) -> tuple[str, str, str] | None:
    """llama-server opens one GGUF file (of a split model: the first)."""
    if model.entry.endswith(".gguf"):
        return None
    return (
        f"model {model.name} has no GGUF file to open ({model.entry})",
        "a file that ends in .gguf",
        "Name it: `file` of a Hugging Face repository, or a path or url that ends in .gguf.",
    )


def environment(service: ServiceDeclaration, model: Model, port: int) -> tuple[tuple[str, str], ...]:
    """Loopback only: the container shares the host's network, so this address is the host's own."""
    return (
        ("LLAMA_ARG_MODEL", model.entry),
        ("LLAMA_ARG_ALIAS", model.name),
        ("LLAMA_ARG_HOST", "127.0.0.1"),
        ("LLAMA_ARG_PORT", str(port)),
        ("LLAMA_ARG_CTX_SIZE", str(service.context)),
        ("LLAMA_ARG_N_PARALLEL", str(service.parallel)),
        ("LLAMA_ARG_ENDPOINT_METRICS", "1"),
        ("LLAMA_ARG_OFFLINE", "1"),
    )
