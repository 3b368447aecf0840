"""`gpuwright kernel`: a kernel with the options that no package of the distribution has, from its own source."""
