"""The host without a GPU: one small chat model."""

inference_services = [{"name": "chat", "model": "smollm2-135m-instruct", "context": 4096, "parallel": 2}]
