"""Receivers: what other systems send by themselves: HEP, and SIP PUBLISH with voice-quality reports.

Messages go straight from the socket to their consumer: the only queue is the kernel's buffer of the socket. Over TCP a
busy receiver makes the sender wait; over UDP the kernel drops, and its count is read.
"""
