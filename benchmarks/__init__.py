"""Speed and memory of what takes long; each module says how to run it."""
