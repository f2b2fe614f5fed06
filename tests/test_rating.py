"""A stream's MOS: the inputs are those the standards ask for, and the string lets a reader compute it again."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics.quality.emodel import EModelParameters, rate
from analytics.quality.rating import (
    NetworkDelay,
    RatingAssumptions,
    as_command,
    delay_parameters,
    network_delay,
    rate_stream,
    usable_burst_ratio,
)


def test_a_clean_g711_stream_rates_as_the_recommendation_does() -> None:
    rating = rate_stream("PCMA", True, 0.0, None, 20.0)
    assert rating.r_factor == pytest.approx(93.206208, abs=1e-4)
    assert rating.mos == pytest.approx(4.409406, abs=1e-4)
    assert rating.reason_when_missing is None


def test_loss_and_bursts_enter_as_the_golden_vector_has_them() -> None:
    # G.711 with PLC, 5 % loss, burst ratio 2 (vector N051).
    assert rate_stream("PCMA", True, 5.0, 2.0, 20.0).r_factor == pytest.approx(75.996063, abs=1e-4)


def test_the_model_string_names_every_input() -> None:
    assert rate_stream("PCMA", True, 1.25, 1.4, 20.0).model == (
        "G.107 (2015); PCMA Ie 0 Bpl 25.1 (PLC); Ppl 1.25 % BurstR 1.4, loss as seen at the tap; delay echo-free, "
        "Ta 60 ms = packetisation 20 ms + assumed buffer 40 ms + network unknown, not counted"
    )


def test_a_round_trip_adds_its_half_and_says_so() -> None:
    rating = rate_stream("G729", False, 0.0, None, 20.0, network_delay(300.0, "both halves"))
    assert rating.terms is not None
    # 20 ms packet, 5 ms look-ahead of G.729, 40 ms buffer, 150 ms network.
    assert rating.terms.parameters.Ta == 215
    assert rating.terms.Idd > 0
    assert rating.model is not None
    assert "network 150 ms (half of the RTCP round trip)" in rating.model


def test_half_of_a_path_is_said_to_be_a_lower_bound() -> None:
    delay = network_delay(80.0, "receiver half")
    assert delay == NetworkDelay(40.0, "half of the RTCP round trip, receiver half alone, at least")
    assert network_delay(None, None) is None


def test_full_basis_has_an_echo_path() -> None:
    assert delay_parameters(100.0, "full") == {"T": 100.0, "Tr": 200.0, "Ta": 100.0}
    assert delay_parameters(100.0, "echo-free") == {"T": 0.0, "Tr": 0.0, "Ta": 100.0}
    with pytest.raises(ValueError, match="delay basis must be one of echo-free, full, got half"):
        delay_parameters(100.0, "half")
    full = rate_stream("PCMA", True, 0.0, None, 20.0, NetworkDelay(40.0, "given"), RatingAssumptions("full"))
    # One-way delay of 100 ms, T = Ta, Tr = 2 Ta (vector N009).
    assert full.r_factor == pytest.approx(90.663730, abs=1e-4)


def test_burst_ratios_count_only_with_bpl_of_at_least_16() -> None:
    assert usable_burst_ratio(16.1, 3.0) == (3.0, "")
    ratio, remark = usable_burst_ratio(4.3, 3.0)
    assert ratio == 1
    assert "measured 3" in remark
    assert "Bpl >= 16" in remark
    plain, bursty = rate_stream("PCMU", False, 2.0, 1.0, 20.0), rate_stream("PCMU", False, 2.0, 3.0, 20.0)
    assert plain.r_factor == bursty.r_factor
    assert bursty.model is not None
    assert "measured 3; G.113" in bursty.model


@pytest.mark.parametrize(
    ("codec", "loss", "reason"),
    [
        ("OPUS", 0.0, "no ITU value for OPUS"),
        (None, 0.0, "codec unknown"),
        ("PCMA", None, "loss unknown"),
        ("GSM", 1.0, "no ITU value of Bpl for GSM: with loss it cannot be rated"),
        ("PCMA", 100.5, "Ppl must be from 0 to 100 %, got 100.5"),
    ],
)
def test_what_cannot_be_rated_has_a_reason_and_no_number(codec: str | None, loss: float | None, reason: str) -> None:
    rating = rate_stream(codec, True, loss, 1.0, 20.0)
    assert (rating.mos, rating.r_factor, rating.model, rating.terms) == (None, None, None, None)
    assert rating.reason_when_missing == reason
    assert as_command(rating) is None


def test_a_codec_without_bpl_is_rated_when_nothing_was_lost() -> None:
    rating = rate_stream("GSM", True, 0.0, None, 20.0)
    assert rating.r_factor == pytest.approx(93.206208 - 20, abs=1e-4)
    assert rating.model is not None
    assert "GSM Ie 20 Bpl none published (native)" in rating.model


def test_a_packet_length_that_was_not_told_is_said_to_be_assumed() -> None:
    for untold in (None, 0.0, -20.0):
        model = rate_stream("PCMA", True, 0.0, None, untold).model
        assert model is not None
        assert "packetisation 20 ms assumed" in model


def test_losses_past_the_range_of_the_recommendation_are_noted() -> None:
    assert rate_stream("PCMA", True, 40.0, 1.0, 20.0).notes == ("Ppl 40 is outside 0 to 20, the range of G.107 (2015)",)


@given(
    st.sampled_from(["PCMA", "G729"]),
    st.booleans(),
    st.floats(0, 100),
    st.floats(1, 300),
    st.floats(1, 200),
    st.floats(0, 5000),
)
def test_the_model_string_is_enough_to_compute_the_rating_by_hand(
    codec: str, plc: bool, loss: float, burst_ratio: float, ptime_ms: float, one_way_ms: float
) -> None:
    rating = rate_stream(codec, plc, loss, burst_ratio, ptime_ms, NetworkDelay(one_way_ms, "given"))
    assert rating.model is not None
    number = r"([\d.e+-]+)"
    found = re.search(rf"Ie {number} Bpl {number} .* Ppl {number} % BurstR {number}\D.* Ta {number} ms =", rating.model)
    assert found is not None
    ie, bpl, ppl, ratio, delay_ms = (float(text.rstrip(",")) for text in found.groups())
    by_hand = rate(EModelParameters(Ie=ie, Bpl=bpl, Ppl=ppl, BurstR=ratio, Ta=delay_ms))
    assert rating.r_factor == pytest.approx(by_hand.R, abs=1e-2)
