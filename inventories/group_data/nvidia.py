"""The NVIDIA hosts. GPU variants of the engines are not in this release: the service says that it runs on the CPU."""

inference_services = [{"name": "chat", "accelerator": "cpu", "memory_gib": 8}]
