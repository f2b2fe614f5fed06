"""Voice quality: the E-model and what it needs to know of codecs."""
