"""Pure arithmetic on facts: no I/O, no clock."""
