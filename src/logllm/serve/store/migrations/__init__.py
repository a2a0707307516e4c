"""How a store of an older logllm becomes one of this version.

Each revision is a module, which never changes once it is released.
"""
