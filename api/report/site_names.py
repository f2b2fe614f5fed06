"""Names of sites beside their codes, in tables with a line a site."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from analytics.cost.document import Document, Head, Section
from api.report.one_site import SITE

NAME = "Name"
"""Label of the column that holds a site's name; plots show it beside the code."""


def with_names(document: Document, names: Mapping[str, str]) -> Document:
    """Return the document with a column of names in tables whose first column holds each site once."""
    return replace(document, sections=tuple(_named(section, names) for section in document.sections))


def _named(section: Section, names: Mapping[str, str]) -> Section:
    sites = [str(row.cells[0]) for row in section.rows if not row.total]
    is_by_site = section.heads[0].label == SITE and NAME not in [head.label for head in section.heads]
    if not is_by_site or len(set(sites)) < len(sites) or not any(site in names for site in sites):
        return section
    rows = [
        replace(row, cells=(row.cells[0], "" if row.total else names.get(str(row.cells[0]), ""), *row.cells[1:]))
        for row in section.rows
    ]
    plot = section.plot
    if plot is not None:
        plot = replace(plot, columns=tuple(column + (column > 0) for column in plot.columns))
    heads = (section.heads[0], Head(NAME), *section.heads[1:])
    return replace(section, heads=heads, rows=tuple(rows), plot=plot)
