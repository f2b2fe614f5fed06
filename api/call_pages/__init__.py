"""The call pages of a capture as one file: `callgauge replay FILE --html OUT`. It needs no script and no network."""
