"""Numbers, tariffs, rating, the legacy baseline and savings: exact arithmetic on facts, without I/O."""
