"""A run on disk: its manifest, verified; its model card; and the runs that come with logllm."""
