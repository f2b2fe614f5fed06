"""The pages of a capture's calls as one file: what they show, that they are masked, and that nothing in them acts."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw
from scapy.utils import wrpcap
from web_browser import browser

from api.call_pages.facts import BUFFER_MS, Late, chosen, intervals_by_stream, ladder, late_of, view_of
from api.call_pages.plots import steps, ticks
from api.call_pages.writing import call_pages
from api.main import shell
from api.rated import Rated, rate_replay
from api.replay import ReplaySettings, replay_files
from collector.facts import Endpoint, Step

SAMPLES = Path(__file__).resolve().parents[1] / "sample_pcaps"
HOSTILE = '"><script>document.title="owned"</script><img src=x onerror="document.title=1">'
NAMES = ("bursty_loss", "hold_resume", "forked", "outcomes", "key_presses")


class Read(HTMLParser):
    """The tags and attributes of a file, and whether what is opened is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.unbalanced: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        if self.open[-1:] == [tag]:
            self.open.pop()
        else:
            self.unbalanced.append(tag)


def rated(name: str) -> Rated:
    return rate_replay(replay_files([SAMPLES / f"{name}.pcap"], ReplaySettings.to_draw()))


@pytest.mark.parametrize("name", NAMES)
def test_a_file_is_whole_and_asks_for_nothing(name: str) -> None:
    text = "".join(call_pages(rated(name), masked=False))
    read = Read(text)
    assert not read.unbalanced
    assert not read.open
    tags = {tag for tag, _ in read.tags}
    assert not tags & {"script", "iframe", "link", "img", "object", "form", "base"}
    targets = [of[key] for _, of in read.tags for key in ("src", "href") if key in of]
    assert all(target is not None and target.startswith("#") for target in targets)
    assert not [key for _, of in read.tags for key in of if key.startswith("on")]
    assert "url(" not in text
    assert "default-src 'none'" in text
    ids = {of["id"] for _, of in read.tags if "id" in of}
    assert {target.removeprefix("#") for target in targets if target not in (None, "#")} <= ids
    assert len([one for one in ids if str(one).startswith("call-")]) == len(rated(name).calls)


def test_each_packet_lost_is_a_tick() -> None:
    of = rated("bursty_loss")
    call = chosen(of)[0][0]
    view = view_of(call, intervals_by_stream(of))
    for one in view.streams:
        assert sum(tick.network for tick in one.ticks) == one.rated.stream.lost
        assert one.not_drawn == 0
        assert ticks(one.ticks).count("M") == one.rated.stream.lost
        assert all(0 <= tick.place <= 1 for tick in one.ticks)
    assert max(one.rated.stream.lost for one in view.streams) == 34


def test_what_a_hold_keeps_back_is_no_loss_and_is_drawn_as_a_hold() -> None:
    of = rated("hold_resume")
    view = view_of(chosen(of)[0][0], intervals_by_stream(of))
    assert any(span.what == "hold" and span.end > span.begin for one in view.streams for span in one.held)
    assert not any(tick.network for one in view.streams for tick in one.ticks)


def test_a_ladder_has_each_message_once_in_its_order() -> None:
    one, two = Endpoint("192.0.2.1", 5060), Endpoint("192.0.2.2", 5060)
    found = ladder(
        [
            Step(2_000_000, two, one, "INVITE", 180, 1, 0),
            Step(0, one, two, "INVITE", None, 1, 2),
            Step(9_000_000, two, one, "OPTIONS", 486, 1, 0),
        ]
    )
    assert found.ends == ("192.0.2.1:5060", "192.0.2.2:5060")
    assert [(rung.source, rung.target, rung.label, rung.gap, rung.kind) for rung in found.rungs] == [
        (0, 1, "INVITE ×3", "", "request"),
        (1, 0, "180 Ringing", "+2 ms", "progress"),
        (1, 0, "486 Busy Here (OPTIONS)", "+7 ms", "failure"),
    ]


def test_what_comes_past_the_buffer_is_named() -> None:
    stream = rated("disordered").streams[0].stream
    found = late_of(stream)
    assert sum(one.share for one in found) == pytest.approx(100)
    for one, of in zip(found, stream.delay_histogram, strict=True):
        expected = "yes" if of.low >= BUFFER_MS else "no" if of.high is not None and of.high <= BUFFER_MS else "partly"
        assert isinstance(one, Late)
        assert one.late == expected


def test_a_gap_in_values_is_a_gap_in_the_line() -> None:
    from api.call_pages.facts import Point

    drawn = steps([Point(0, 0.1, 1), Point(0.1, 0.2, None), Point(0.2, 0.3, 2), Point(0.3, 0.4, 3)], 0, 4, 40, "x")
    assert drawn.count("M") == 2
    assert drawn.count("H") == 3


def test_only_the_worst_calls_of_many_are_written_and_the_rest_is_counted() -> None:
    of = rated("outcomes")
    assert len(of.calls) > 2
    text = "".join(call_pages(of, masked=False, most=2))
    assert text.count('<section id="call-') == 2
    assert f"{len(of.calls) - 2} more are not" in text


def test_people_are_masked_unless_asked_for(tmp_path: Path) -> None:
    masked, shown = tmp_path / "masked.html", tmp_path / "shown.html"
    capture = str(SAMPLES / "bursty_loss.pcap")
    assert shell(["replay", capture, "--html", str(masked)]) == 0
    assert shell(["replay", capture, "--html", str(shown), "--show-numbers"]) == 0
    assert "sip:1001@" not in masked.read_text(encoding="utf-8")
    assert "sip:p1@" in masked.read_text(encoding="utf-8")
    assert "sip:1001@" in shown.read_text(encoding="utf-8")


def hostile_capture(path: Path) -> None:
    """An INVITE and its refusal whose every free part holds a script."""
    bad = HOSTILE.replace("\r", "")
    head = (
        f"Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1\r\nFrom: <sip:{bad}@192.0.2.1>;tag=1\r\n"
        f"To: <sip:{bad}@192.0.2.2>{{tag}}\r\nCall-ID: {bad}\r\nCSeq: 1 INVITE\r\nUser-Agent: {bad}\r\n"
        f'Reason: {bad};cause=17;text="{bad}"\r\nContent-Length: 0\r\n\r\n'
    )
    frames = [
        ("192.0.2.1", "192.0.2.2", f"INVITE sip:{bad}@192.0.2.2 SIP/2.0\r\n" + head.format(tag="")),
        ("192.0.2.2", "192.0.2.1", f"SIP/2.0 486 {bad}\r\n" + head.format(tag=";tag=2")),
    ]
    made = [
        Ether() / IP(src=source, dst=target) / UDP(sport=5060, dport=5060) / Raw(said.encode())
        for source, target, said in frames
    ]
    for at, frame in enumerate(made):
        frame.time = 1_700_000_000 + at
    wrpcap(str(path), made)


@pytest.mark.parametrize("options", [[], ["--show-numbers"]])
def test_scripts_in_headers_are_words(tmp_path: Path, options: list[str]) -> None:
    capture, out = tmp_path / "hostile.pcap", tmp_path / "hostile.html"
    hostile_capture(capture)
    assert shell(["replay", str(capture), "--html", str(out), *options]) == 0
    text = out.read_text(encoding="utf-8")
    assert '<section id="call-1">' in text
    read = Read(text)
    assert not {tag for tag, _ in read.tags} & {"script", "img"}
    assert not [key for _, of in read.tags for key in of if key.startswith("on")]
    if options:
        assert "&lt;script&gt;" in text
    with browser() as made:
        page = made.new_page()
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text))
        page.goto(out.as_uri())
        assert page.title() == "hostile.pcap · Callgauge"
        assert not said


def test_a_file_opens_without_a_word_and_is_no_wider_than_a_telephone(tmp_path: Path) -> None:
    out = tmp_path / "calls.html"
    assert shell(["replay", str(SAMPLES / "hold_resume.pcap"), "--html", str(out)]) == 0
    with browser() as made:
        page = made.new_page(viewport={"width": 390, "height": 844})
        said: list[str] = []
        asked: list[str] = []
        page.on("console", lambda message: said.append(message.text))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(out.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert re.match(r"1 call: ", page.inner_text("h1"))
        assert not said
        assert asked == [out.as_uri()]
