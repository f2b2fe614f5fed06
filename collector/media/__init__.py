"""RTP streams: the table that measures them and what their reports mean."""
