"""The codec table against the figures that G.113 is quoted with, and its silence where there are none."""

from __future__ import annotations

import pytest

from analytics.quality.codecs import (
    CODECS,
    canonical_name,
    codecs_without_value,
    impairment,
    known_codecs,
    why_missing,
)


@pytest.mark.parametrize(
    ("codec", "plc", "ie", "bpl"),
    [
        ("PCMA", False, 0, 4.3),
        ("PCMA", True, 0, 25.1),
        ("PCMU", False, 0, 4.3),
        ("PCMU", True, 0, 25.1),
        ("G729", True, 11, 19.0),
        ("G723", True, 15, 16.1),
        ("GSM-EFR", True, 5, 10.0),
        ("GSM", True, 20, None),
        ("G726-32", False, 7, None),
        ("G728", True, 7, None),
    ],
)
def test_values_of_g113(codec: str, plc: bool, ie: float, bpl: float | None) -> None:
    row = impairment(codec, plc)
    assert row is not None
    assert (row.ie, row.bpl) == (ie, bpl)


@pytest.mark.parametrize("codec", ["G722", "AMR-WB", "OPUS", "EVS", "AMR", "ILBC", "X-PRIVATE", None])
@pytest.mark.parametrize("plc", [True, False])
def test_no_value_is_invented(codec: str | None, plc: bool) -> None:
    assert impairment(codec, plc) is None
    assert why_missing(codec)


def test_the_reason_says_what_is_missing() -> None:
    assert why_missing("opus") == "no ITU value for OPUS"
    assert why_missing(None) == "codec unknown"
    assert why_missing("X-PRIVATE") == "no ITU value for X-PRIVATE"
    for wideband in ("G722", "AMR-WB", "EVS"):
        assert "G.107.1" in why_missing(wideband)


def test_concealment_of_the_decoder_itself_does_not_depend_on_plc() -> None:
    assert impairment("G729", True) == impairment("G729", False)


def test_other_spellings_lead_to_the_rtp_name() -> None:
    assert [canonical_name(name) for name in ("pcma", "g711u", "G.729", "g729a")] == ["PCMA", "PCMU", "G729", "G729"]


def test_every_row_names_its_source_and_no_name_is_in_both_tables() -> None:
    assert all(row.source.startswith("G.113") for row in CODECS)
    assert not set(known_codecs()) & set(codecs_without_value())
    assert all(row.provisional for row in CODECS if row.concealment != "no PLC")
