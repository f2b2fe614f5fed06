"""The faces: the `callgauge` command and its reports."""

__version__ = "0.1.0"
