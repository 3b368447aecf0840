"""`gpuwright facts|plan|explain`: what is known of hosts, what they would get, and why; nothing is changed."""
