"""The AMD hosts: a small model on their GPUs first, to see that all of it works; then one that they were bought for.

docs/engines.md has larger ones, on vLLM and on GPUs by address.
"""

inference_services = [{"name": "chat", "model": "smollm2-135m-instruct", "parallel": 4}]
