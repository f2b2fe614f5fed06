"""From sites to the centre over MQTT v5: agents publish rows of the lake, the centre stores them and says so.

payload    a message: one batch of rows of one table, as bytes and back
outgoing   which messages of an agent are on their way, and which to send again
session    the connection to the broker
agent      at a site: rows -> spool on disk -> broker
intake     at the centre: messages -> lake, each once
centre     broker -> intake -> receipts
"""
