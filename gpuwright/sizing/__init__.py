"""`gpuwright size`: which machine a model fits, how fast it answers, and what that costs."""
