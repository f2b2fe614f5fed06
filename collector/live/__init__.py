"""Live sources: `source` says what one is, `child` runs the capturing program, `engine` measures without an end."""
