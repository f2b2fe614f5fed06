"""Which sites the live view marks as silenced, from the book of alerts."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from analytics.alerts.facts import Matcher
from api.alerts.book import Book
from api.alerts.keeping import add_silence
from api.web.looking import silenced_sites

NOW = 1_790_000_000_000_000_000
HOUR = 3_600_000_000_000


def test_a_silence_of_a_site_marks_it_as_long_as_it_holds(tmp_path: Path) -> None:
    assert silenced_sites(tmp_path, NOW, ["a", "b"]) == frozenset()
    with closing(Book.open(tmp_path)) as book:
        add_silence(book, Matcher((("site", ("a", "north*")),)), NOW, NOW + HOUR, "amy", "works")
        add_silence(book, Matcher((("rule", ("jitter",)), ("site", ("b",)))), NOW, NOW + HOUR, "amy", "one rule alone")
    assert silenced_sites(tmp_path, NOW, ["a", "b", "northgate"]) == {"a", "northgate"}
    assert silenced_sites(tmp_path, NOW + HOUR, ["a", "northgate"]) == frozenset()
