"""How a store of an older logllm becomes one of this.

A module a revision, never changed once it is out.
"""
