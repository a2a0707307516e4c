"""Kafka: a topic's partitions as a source, shared with other processes by a consumer group."""
