"""Brings facts in: the only code that reads packets, files, sockets and brokers.

`capture` turns files and pipes into windows of packets, `protocols` are pure parsers, `media` measures RTP streams,
`calls` puts dialogs and streams together, `facts` is what comes out.
"""
