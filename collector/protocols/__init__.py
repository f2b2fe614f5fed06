"""Pure parsers: bytes in, facts or one named error out. No sockets, no clock."""
