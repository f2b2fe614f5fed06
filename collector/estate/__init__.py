"""The estate's folder of plain files: what it says, and what is wrong with it.

`folder.read_estate` gives the facts and every problem; `folder.load_estate` gives the facts or `EstateError`.
`columns` declares each file and column once, `table` reads CSV files by such declarations, `checks` holds the rows
against each other.
"""
