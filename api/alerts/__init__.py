"""Alerts at work: a loop that asks the store, a book on disk, and webhooks that are delivered at least once.

`loop` decides and writes each decision together with its messages in one transaction of the `book`; `delivery` sends
what waits there, one task an endpoint. A process that dies in between repeats nothing and loses nothing.
"""
