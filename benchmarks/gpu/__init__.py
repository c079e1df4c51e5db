"""Check on a GPU what has only run on a CPU: `make gpu`, at most 10 minutes, without a network.

`python -m benchmarks.gpu` runs each section in a process of its own, with a time limit. A section
is a module with `parts(machine)`, a list of `section.Part`. Without a GPU the parts run in a
reduced form on the CPU, and those that need CUDA are reported as not run: docs/gpu.md.
"""
