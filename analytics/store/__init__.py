"""The one place that touches databases: the lake (default) and its schema."""
