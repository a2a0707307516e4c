"""How a store of an older logllm becomes one of this: a module a revision, never changed once it is out."""
