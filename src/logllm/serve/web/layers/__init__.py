"""What stands between a request and its route: who may ask, how much, and what answers carry."""
