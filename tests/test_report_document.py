"""A report apart from its formats: figures that are held back are not missing, and not told."""

from __future__ import annotations

from decimal import Decimal

from analytics.cost.figures import Book, Evidence


def test_a_figure_held_back_has_no_value_and_what_follows_from_it_says_why() -> None:
    book = Book()
    book.enter("offered", "offered", "calls", 40, Evidence.MEASURED, "usage")
    held = book.hold_back("abandoned", "abandoned", "calls", Evidence.MEASURED, "<5", "fewer than 5 calls")
    share = book.compute("share", "share abandoned", "percent", "100 * {abandoned} / {offered}")
    assert (held.value, held.shown) == (None, "<5")
    assert share.value is None
    assert share.why == "needs abandoned: fewer than 5 calls"
    assert book.value("offered") == Decimal(40)
