"""The AMD hosts: no engine has a GPU variant in this release, so the service says that it wants the CPU."""

inference_services = [{"name": "chat", "accelerator": "cpu", "memory_gib": 8}]
