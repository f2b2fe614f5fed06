"""`callgauge mos`: one rating of G.107, every term shown with its clause and inputs."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import fields
from enum import StrEnum
from typing import Annotated, Any, NamedTuple, NoReturn

import typer

from analytics.quality.codecs import (
    CODECS,
    CodecImpairment,
    canonical_name,
    codecs_without_value,
    impairment,
    known_codecs,
    why_missing,
)
from analytics.quality.emodel import (
    DEFAULT_PARAMETERS,
    MODEL,
    PARAMETER_RANGES,
    EModelParameters,
    Rating,
    beyond_permitted,
    rate,
    user_satisfaction,
    waterfall,
)
from analytics.quality.rating import delay_parameters, usable_burst_ratio
from api.progress import say

WIDTH = 100
BAR_WIDTH = 16


class DelayBasis(StrEnum):
    ECHO_FREE = "echo-free"
    FULL = "full"


class MosFormat(StrEnum):
    TEXT = "text"
    JSON = "json"


class Term(NamedTuple):
    """One row of the table of terms."""

    name: str
    equation: str
    clause: str
    meaning: str
    inputs: tuple[str, ...]


TERMS = (
    Term("No", "7-3", "7.2", "noise, all sources [dBm0p]", ("Nc", "Nfor", "Ps", "Pr")),
    Term("Ro", "7-2", "7.2", "signal to noise", ("SLR",)),
    Term("Iolr", "7-9", "7.3.1", "loudness", ("SLR", "RLR")),
    Term("Ist", "7-11", "7.3.2", "sidetone", ("STMR", "TELR", "T")),
    Term("Iq", "7-13", "7.3.3", "quantizing", ("qdu",)),
    Term("Is", "7-8", "7.3", "Iolr + Ist + Iq", ()),
    Term("Idte", "7-19", "7.4.1", "talker echo", ("T", "TELR", "STMR")),
    Term("Idle", "7-25", "7.4.2", "listener echo", ("Tr", "WEPL")),
    Term("Idd", "7-27", "7.4.3", "delay", ("Ta", "sT", "mT")),
    Term("Id", "7-18", "7.4", "Idte + Idle + Idd", ()),
    Term("Ie_eff", "7-29", "7.5", "codec and loss", ("Ie", "Bpl", "Ppl", "BurstR")),
    Term("A", "", "7.6", "advantage", ("A",)),
    Term("R", "7-1", "7.1", "Ro - Is - Id - Ie_eff + A", ()),
    Term("MOS", "B-4", "Annex B", "MOS-CQE, narrowband", ()),
)


ECHO_LOSSES = frozenset({"TELR", "WEPL"})
"""Who sets one of these asks what an echo does, which the echo-free basis leaves out."""


class Line(NamedTuple):
    """A line of text and the style it has on a terminal."""

    text: str
    style: str = ""


def mos(
    codec: Annotated[str | None, typer.Option(help="Codec by its RTP name, e.g. PCMA; see --list-codecs.")] = None,
    plc: Annotated[bool, typer.Option("--plc/--no-plc", help="The receiver conceals lost packets (G.711).")] = False,
    delay: Annotated[float, typer.Option(help="One-way delay from mouth to ear [ms].")] = 0.0,
    loss: Annotated[float, typer.Option(help="Packets lost, those the buffer discards included [%].")] = 0.0,
    burst_ratio: Annotated[float, typer.Option(help="Mean loss run over that of random loss, 1 = random.")] = 1.0,
    delay_basis: Annotated[
        DelayBasis | None,
        typer.Option(
            help="echo-free: T = Tr = 0, by default; full: T = Ta, Tr = 2 Ta, by default with an echo loss set."
        ),
    ] = None,
    ie: Annotated[float | None, typer.Option("--ie", help="Ie in place of the codec's.")] = None,
    bpl: Annotated[float | None, typer.Option("--bpl", help="Bpl in place of the codec's.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Any parameter of G.107, e.g. TELR=55.")
    ] = None,
    output: Annotated[MosFormat, typer.Option("--format", help="text or json.")] = MosFormat.TEXT,
    list_codecs: Annotated[bool, typer.Option("--list-codecs", help="Print the codecs and stop.")] = False,
) -> None:
    """Rate speech quality by ITU-T G.107 and show where the R went."""
    if list_codecs:
        if output is MosFormat.JSON:
            rows = [row._asdict() for row in CODECS]
            _print_json({"codecs": rows, "without_value": dict(codecs_without_value())})
        else:
            _print(_codec_lines())
        return
    try:
        row = _codec_row(codec, plc, own_values=ie is not None and bpl is not None)
        given_ie, given_bpl = _codec_values(row, ie, bpl, loss)
        given = {"Ie": given_ie, "Bpl": given_bpl, "Ppl": loss, "BurstR": burst_ratio}
        overrides = dict(_override(text) for text in settings or ())
        basis = delay_basis or (DelayBasis.FULL if ECHO_LOSSES & overrides.keys() else DelayBasis.ECHO_FREE)
        given |= delay_parameters(delay, basis.value)
        EModelParameters(**given)
        replaced = _replaced(given, overrides, _options(codec, ie, bpl, loss, burst_ratio, delay, basis))
        burst_remark = ""
        if row is not None and bpl is None:
            given["BurstR"], burst_remark = usable_burst_ratio(row.bpl, burst_ratio)
        if "BurstR" in overrides:
            burst_remark = ""
        rating = rate(EModelParameters(**(given | overrides)))
    except ValueError as wrong:
        _fail(str(wrong))
    model = _model(rating.parameters, codec, row, basis, overrides)
    notes = list(beyond_permitted(rating.parameters))
    if burst_remark:
        notes.insert(0, f"BurstR 1 used{burst_remark}; --set BurstR={burst_ratio:g} forces it")
    notes += replaced
    notes += _codec_notes(codec, row, rating.parameters)
    if output is MosFormat.JSON:
        _print_json(_document(rating, row, model, basis, notes))
    else:
        _print(_report(rating, model, notes))


def _codec_row(codec: str | None, plc: bool, own_values: bool) -> CodecImpairment | None:
    """The codec's row; None when no codec was named or its values were given. `ValueError` for one without values."""
    row = impairment(codec, plc)
    if row is not None or codec is None or own_values:
        return row
    name = canonical_name(codec)
    reason = why_missing(codec) if name in codecs_without_value() else f"unknown codec {name}"
    raise ValueError(f"{reason}; give --ie and --bpl, or one of {', '.join(known_codecs())}")


def _codec_values(row: CodecImpairment | None, ie: float | None, bpl: float | None, loss: float) -> tuple[float, float]:
    """Ie and Bpl: as given, else the codec's, else the defaults of G.107."""
    default = DEFAULT_PARAMETERS
    if row is None:
        return default.Ie if ie is None else ie, default.Bpl if bpl is None else bpl
    if row.bpl is None and bpl is None and loss > 0:
        raise ValueError(f"no ITU value of Bpl for {row.codec}: with loss, give --bpl")
    codec_bpl = default.Bpl if row.bpl is None else row.bpl
    return row.ie if ie is None else ie, codec_bpl if bpl is None else bpl


def _codec_notes(codec: str | None, row: CodecImpairment | None, p: EModelParameters) -> list[str]:
    if row is None:
        return [] if codec is None else [f"{why_missing(codec)}: Ie and Bpl are as given, on the narrowband scale"]
    return [f"{row.codec}: provisional, {row.source}"] if row.provisional and _as_listed(p, row) else []


def _options(
    codec: str | None,
    ie: float | None,
    bpl: float | None,
    loss: float,
    burst_ratio: float,
    delay: float,
    basis: DelayBasis,
) -> dict[str, str]:
    """The options that were given, by the parameters of G.107 that they set."""
    options = {} if codec is None else dict.fromkeys(("Ie", "Bpl"), f"--codec {codec}")
    numbers = (("Ie", "--ie", ie), ("Bpl", "--bpl", bpl), ("Ppl", "--loss", loss or None))
    options |= {name: f"{option} {value:g}" for name, option, value in numbers if value is not None}
    if burst_ratio != 1:
        options["BurstR"] = f"--burst-ratio {burst_ratio:g}"
    if delay:
        names = ("Ta", "T", "Tr") if basis is DelayBasis.FULL else ("Ta",)
        options |= dict.fromkeys(names, f"--delay {delay:g}")
    return options


def _replaced(given: Mapping[str, float], overrides: Mapping[str, float], options: Mapping[str, str]) -> list[str]:
    """What `--set` has taken from other options."""
    return [
        f"{name} {value:g} from --set replaces {options[name]}"
        for name, value in overrides.items()
        if name in options and given[name] != value
    ]


def _override(text: str) -> tuple[str, float]:
    """Name and value of one `--set`."""
    name, equals, value = text.partition("=")
    by_lower = {known.lower(): known for known in PARAMETER_RANGES}
    known = by_lower.get(name.strip().lower())
    if not equals or known is None:
        raise ValueError(f"--set {text}: wanted NAME=VALUE with a NAME of {', '.join(PARAMETER_RANGES)}")
    try:
        return known, float(value)
    except ValueError:
        raise ValueError(f"--set {text}: the value is not a number") from None


def _model(
    p: EModelParameters,
    codec: str | None,
    row: CodecImpairment | None,
    basis: DelayBasis,
    overrides: dict[str, float],
) -> str:
    """The model string of docs/quality.md, from the parameters that were used."""
    if row is not None and _as_listed(p, row):
        name, origin = row.codec, row.concealment
    else:
        name, origin = (canonical_name(codec), "as given") if codec else ("no codec", "defaults or as given")
    words = [
        MODEL,
        f"{name} Ie {p.Ie:g} Bpl {p.Bpl:g} ({origin})",
        f"Ppl {p.Ppl:.6g} % BurstR {p.BurstR:.6g}",
        f"delay {basis.value}, Ta {p.Ta:.6g} ms",
    ]
    shown = {"Ie", "Bpl", "Ppl", "BurstR", "Ta"}
    words += [f"{name} {value:.6g}" for name, value in overrides.items() if name not in shown]
    return "; ".join(words)


def _as_listed(p: EModelParameters, row: CodecImpairment) -> bool:
    """True when the codec's own values were used."""
    return p.Ie == row.ie and row.bpl in (None, p.Bpl)


def _document(
    rating: Rating, row: CodecImpairment | None, model: str, basis: DelayBasis, notes: list[str]
) -> dict[str, Any]:
    """The JSON of docs/quality.md; numbers to six decimals, so that machines agree on every byte."""
    terms = {
        field.name: _rounded(getattr(rating, field.name)) for field in fields(rating) if field.name != "parameters"
    }
    return {
        "codec": None if row is None else row._asdict(),
        "delay_basis": basis.value,
        "model": model,
        "mos": _rounded(rating.MOS),
        "notes": notes,
        "parameters": dict(rating.parameters.items()),
        "r_factor": _rounded(rating.R),
        "terms": terms,
        "user_satisfaction": user_satisfaction(rating.R),
        "waterfall": [
            {**step._asdict(), "change": _rounded(step.change), "r": _rounded(step.r)} for step in waterfall(rating)
        ],
    }


def _rounded(value: float) -> float:
    return round(value, 6) + 0.0  # never -0.0


def _report(rating: Rating, model: str, notes: list[str]) -> Iterable[Line]:
    words = user_satisfaction(rating.R)
    yield Line(f"MOS {rating.MOS:.2f}   R {rating.R:.1f}   {words}", "bold")
    yield from _wrapped(model, "", "dim")
    yield Line("")
    yield Line("Where the R went", "bold")
    shown_always = {"all defaults", "delay", "codec", "loss"}
    for step in waterfall(rating):
        if step.name in shown_always or abs(step.change) >= 0.005:
            bar = "#" * round(max(step.r, 0) / 100 * BAR_WIDTH)
            change = "" if step.name == "all defaults" else f"{step.change + 0.0:+.2f}"
            text = f"  {step.name:<19}{change:>8}{step.r:>8.2f}  {bar:<{BAR_WIDTH + 2}}{step.clause:<7}{step.inputs}"
            yield Line(text.rstrip())
    yield Line("")
    yield Line(f"  {'term':<8}{'value':>9}  {'eq.':<6}{'clause':<9}{'':<27}inputs", "bold")
    for term in TERMS:
        inputs = "  ".join(f"{name} {getattr(rating.parameters, name):g}" for name in term.inputs)
        value = _rounded(getattr(rating, term.name))
        text = f"  {term.name:<8}{value:>9.3f}  {term.equation:<6}{term.clause:<9}{term.meaning:<27}{inputs}"
        yield Line(text.rstrip())
    if notes:
        yield Line("")
    for note in notes:
        yield from _wrapped(note, "  ! ", "yellow")


def _wrapped(text: str, first: str, style: str) -> Iterable[Line]:
    rest = " " * len(first)
    for line in textwrap.wrap(text, WIDTH, initial_indent=first, subsequent_indent=rest):
        yield Line(line, style)


def _codec_lines() -> Iterable[Line]:
    yield Line(f"{'codec':<11}{'concealment':<13}{'Ie':>4}{'Bpl':>7}  source", "bold")
    for row in CODECS:
        bpl = "-" if row.bpl is None else f"{row.bpl:g}"
        yield Line(f"{row.codec:<11}{row.concealment:<13}{row.ie:>4g}{bpl:>7}  {row.source}")
    yield Line("")
    yield Line("without a value", "bold")
    for name, reason in codecs_without_value().items():
        yield Line(f"{name:<17}{reason}")


def _print_json(document: dict[str, Any]) -> None:
    typer.echo(json.dumps(document, indent=2, sort_keys=True))


def _print(lines: Iterable[Line]) -> None:
    """Styled on a terminal (rich honours NO_COLOR), plain text anywhere else."""
    if not sys.stdout.isatty():
        for line in lines:
            typer.echo(line.text)
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    for line in lines:
        console.print(Text(line.text, line.style), soft_wrap=True)


def _fail(message: str) -> NoReturn:
    say(message, "callgauge mos")
    raise typer.Exit(2)
