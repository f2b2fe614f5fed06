"""Reports: one `Document` written as a terminal table, JSON, CSV, a workbook or a page.

`shown` says how a figure reads; `text`, `data`, `workbook` and `page` are the formats; `plots` draws; `command` is
`callgauge report`. No format computes anything: what it shows stands in the document's book.
"""
