"""The dashboards: pages and figures on the same application as the HTTP API, asking the same questions.

`shell.mount` puts them there; `pages` says how a page is made; `figures` turns answers into what is drawn.
"""
