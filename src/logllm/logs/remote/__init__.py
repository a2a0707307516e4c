"""Logs that lie elsewhere than on this machine's disks."""
