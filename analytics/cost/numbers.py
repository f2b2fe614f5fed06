"""What a dialled number is: emergency, internal, or a destination in E.164 with its class.

The order of reading is fixed: emergency numbers before all else, even behind the access digit (9999 is 9 and 999);
then extensions of the site's dial plan (61016 is one, though it is a short code as well); then the access digit is
taken off; then short codes, international, national and local numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from phonenumbers import COUNTRY_CODE_TO_REGION_CODE
from phonenumbers.phonemetadata import PhoneMetadata

from analytics.cost import number_classes as classes
from analytics.cost.number_classes import EMERGENCY, INTERNAL, INTERNATIONAL, SHORT_OTHER, UNKNOWN
from analytics.sites import DialPlan

OFCOM = 44
"""Country calling code whose numbers are classed by Ofcom's plan."""
LONGEST_E164 = 15
LONGEST_DIALLED = 64
MOST_BLOCKS = 400_000
"""Remembered blocks of numbers; memory stays under some 100 MB."""

BLOCK_DIGITS: Mapping[int, int] = {44: 3, 1: 3}
"""Last digits that never matter to type and region of a number of nine digits or more, by country calling code.

A test proves it from the patterns of `phonenumbers` themselves."""


class Destination(NamedTuple):
    """What a dialled number leads to."""

    number_class: str
    """One of `number_classes.CLASSES`."""
    number: str
    """E.164 with its +; digits alone for short codes and extensions, which have no E.164; empty for unknown."""
    internal: bool = False
    emergency: bool = False
    region: str = ""
    """ISO 3166 region; empty where `phonenumbers` gives none."""
    access: str = ""
    """What was taken off before the number was read: access digits, 141 and the like."""
    why: str = ""
    """Reason for `unknown`: empty, not_a_number, feature_code, too_short, too_long, unassigned_code, not_in_plan."""
    valid: bool | None = None
    """Whether `phonenumbers` holds it for assigned; None where it was not asked."""

    @property
    def e164(self) -> str:
        """E.164 with its +; empty where the number has none."""
        return self.number if self.number.startswith("+") else ""

    def leading(self, digits: int) -> str:
        """Return the first digits of the number, but never its last four."""
        room = len(self.number) - 4
        return self.number[: max(0, min(digits + self.number.startswith("+"), room))]


class _National(NamedTuple):
    """What the patterns say of a national number."""

    region: str
    kind: str
    """Type by `phonenumbers`; empty where no region takes it."""


_TYPES = (
    ("premium_rate", "premium"),
    ("toll_free", "freephone"),
    ("shared_cost", "shared_cost"),
    ("voip", "voip"),
    ("personal_number", "personal"),
    ("pager", "pager"),
    ("uan", "uan"),
    ("voicemail", "voicemail"),
    ("fixed_line", "geographic"),
    ("mobile", "mobile"),
)
"""Types in the order in which `phonenumbers` asks. Lines that may be fixed or mobile count as geographic: their
countries charge them alike."""


class _Region:
    """Patterns of one region, compiled once; `phonenumbers.number_type` gives the same and takes 20 times as long."""

    def __init__(self, code: int, region: str) -> None:
        # Its fields are optional only while it is built.
        metadata: Any = PhoneMetadata.metadata_for_region_or_calling_code(code, region)
        general = metadata.general_desc
        self.region = region
        self.leading = re.compile(metadata.leading_digits) if metadata.leading_digits else None
        self.lengths = frozenset(general.possible_length)
        self._general: str = general.national_number_pattern
        self._types: list[tuple[frozenset[int], str, str]] = []
        for name, number_class in _TYPES:
            described = getattr(metadata, name)
            if described is not None and described.national_number_pattern:
                lengths = frozenset(described.possible_length or general.possible_length)
                self._types.append((lengths, described.national_number_pattern, number_class))
        self._none = _National(region, "")
        self._by_length: dict[int, tuple[re.Pattern[str], tuple[_National, ...]]] = {}

    def match(self, national: str) -> _National:
        """What the region's patterns say of a national number."""
        pattern, found = self._by_length.get(len(national)) or self._compile(len(national))
        match = pattern.fullmatch(national)
        return found[match.lastindex or 0] if match else self._none

    def _compile(self, length: int) -> tuple[re.Pattern[str], tuple[_National, ...]]:
        """One pattern for all types of a length, each a group, the first that fits before the others."""
        here = [(pattern, kind) for lengths, pattern, kind in self._types if length in lengths]
        groups = "|".join(f"({pattern})" for pattern, _ in here)
        pattern = re.compile(f"(?=(?:{self._general})\\Z)(?:{groups})" if here else "(?!)")
        made = pattern, (self._none, *(_National(self.region, kind) for _, kind in here))
        self._by_length[length] = made
        return made


class _Country:
    """Numbers under one country calling code."""

    def __init__(self, code: int) -> None:
        regions = COUNTRY_CODE_TO_REGION_CODE.get(code, ())
        self._regions = [_Region(code, region) for region in regions]
        # One look that mostly says that none of these need be asked: there are two dozen under +1.
        leading = [f"(?:{region.leading.pattern})" for region in self._regions if region.leading]
        self._leading = re.compile("|".join(leading) or "(?!)")
        self._without_leading = [region for region in self._regions if region.leading is None]
        self.lengths = frozenset[int]().union(*(region.lengths for region in self._regions))
        self._cut = BLOCK_DIGITS.get(code, 0)
        self._blocks: dict[tuple[int, str], _National] = {}

    def look_up(self, national: str) -> _National:
        """Region and type of a national number, as `phonenumbers` gives them."""
        if not self._cut or len(national) < 9:
            return self._match(national)
        block = (len(national), national[: -self._cut])
        found = self._blocks.get(block)
        if found is None:
            if len(self._blocks) >= MOST_BLOCKS:
                self._blocks.clear()
            found = self._blocks[block] = self._match(national)
        return found

    def _match(self, national: str) -> _National:
        if len(self._regions) == 1:
            return self._regions[0].match(national)
        for region in self._regions if self._leading.match(national) else self._without_leading:
            if region.leading is not None:
                if region.leading.match(national):
                    return region.match(national)
            elif (found := region.match(national)).kind:
                return found
        return _National("", "")


@lru_cache(maxsize=256)
def _country(code: int) -> _Country:
    return _Country(code)


@lru_cache(maxsize=1)
def _codes() -> frozenset[str]:
    return frozenset(str(code) for code in COUNTRY_CODE_TO_REGION_CODE)


def _calling_code(digits: str) -> str:
    """Country calling code that digits begin with; empty where there is none such. No code begins another."""
    codes = _codes()
    for length in (1, 2, 3):
        if digits[:length] in codes:
            return digits[:length]
    return ""


@lru_cache(maxsize=256)
def _incomplete_lengths(code: str) -> frozenset[int]:
    """Lengths of national numbers that nobody abroad can reach: too short for the plan, or without the area code.

    Those that `phonenumbers.is_possible_number_with_reason` calls TOO_SHORT or IS_POSSIBLE_LOCAL_ONLY.
    """
    main = COUNTRY_CODE_TO_REGION_CODE[int(code)][0]
    metadata: Any = PhoneMetadata.metadata_for_region_or_calling_code(int(code), main)
    general = metadata.general_desc
    return frozenset(range(min(general.possible_length))) | frozenset(general.possible_length_local_only)


@lru_cache(maxsize=1)
def _code_of_region() -> dict[str, int]:
    return {region: code for code, regions in COUNTRY_CODE_TO_REGION_CODE.items() for region in regions}


def _is_assigned(digits: str) -> bool:
    """Whether `phonenumbers` holds digits of E.164 for an assigned number."""
    code = _calling_code(digits)
    return bool(code) and bool(_country(int(code)).look_up(digits[len(code) :]).kind)


@lru_cache(maxsize=1024)
def _unknown(why: str, access: str = "") -> Destination:
    return Destination(UNKNOWN, "", access=access, why=why)


_FORMATTING = re.compile(r"[\s().\-/\u2010-\u2015\u00a0]+")
_TRUNK_ZERO = re.compile(r"\(\s*0\s*\)")
_DIGITS = re.compile(r"\+?[0-9]+")


def _clean(dialled: str) -> tuple[str, str]:
    """Digits, with a + where there is one, of what was dialled or signalled; and why there are none."""
    text = dialled.strip()
    scheme, colon, rest = text.partition(":")
    if colon and scheme.casefold() in ("sip", "sips", "tel", "urn"):
        text = rest
        if rest.casefold().startswith("service:sos"):  # RFC 5031
            return "sos", ""
    text = text.partition("@")[0].partition(";")[0]
    text = _FORMATTING.sub("", _TRUNK_ZERO.sub("", text, count=1) if "+" in text else text).rstrip("#")
    if not text:
        return "", "empty"
    if len(text) > LONGEST_DIALLED:
        return "", "too_long"
    if text.casefold() == "sos":
        return "sos", ""
    if text[0] in "*#":
        return "", "feature_code"
    head, plus, tail = text.rpartition("+")
    if not _DIGITS.fullmatch(plus + tail) or not (tail.isascii() and (not head or head.isdigit())):
        return "", "not_a_number"
    return text, ""


class NumberReader:
    """Reads what was dialled at a site; one serves any number of numbers."""

    def __init__(self, plan: DialPlan | None, country: str = "GB") -> None:
        """`country` is the ISO 3166 region that numbers are dialled from; ValueError where there is none such."""
        code = _code_of_region().get(country)
        metadata = PhoneMetadata.metadata_for_region(country)
        if code is None or metadata is None:
            raise ValueError(f"no numbering plan is known for the country {country}")
        short: Any = PhoneMetadata.short_metadata_for_region(country)
        self._country = country
        self._code = code
        self._prefix = str(code)
        self._numbers = _country(code)
        self._idd = re.compile(metadata.international_prefix or "00")
        self._trunk = metadata.national_prefix or ""
        self._short = re.compile(short.short_code.national_number_pattern if short else "(?!)")
        self._emergency = re.compile(short.emergency.national_number_pattern if short and short.emergency else "(?!)")
        self._is_ofcom = code == OFCOM
        self._access = plan.access_digits if plan else ""
        self._extensions = frozenset(plan.extension_digits) if plan else frozenset()
        self._extension_first = plan.extension_first if plan and plan.extension_first else "0123456789"
        area = plan.area_code if plan else ""
        self._area = area.removeprefix(self._trunk)
        self._own_emergency = frozenset(plan.emergency) if plan else frozenset()

    def read(self, dialled: str) -> Destination:
        """Read one dialled number. Any text gives a destination, `unknown` with the reason at worst."""
        if dialled.isascii() and dialled.isdigit() and len(dialled) <= LONGEST_DIALLED:
            text = dialled
        else:
            text, why = _clean(dialled)
            if why:
                return _unknown(why)
            if "+" in text:
                return self._with_plus(text)
            if text == "sos":
                return Destination(EMERGENCY, "sos", emergency=True)
        access = self._access
        is_behind = bool(access) and text.startswith(access) and len(text) > len(access)
        if len(text) < 10:
            if self._is_emergency(text):
                return Destination(EMERGENCY, text, emergency=True)
            if is_behind and self._is_emergency(text[len(access) :]):
                return Destination(EMERGENCY, text[len(access) :], emergency=True, access=access)
        if len(text) in self._extensions and text[0] in self._extension_first:
            return Destination(INTERNAL, text, internal=True)
        if not is_behind:
            return self._outside(text, "")
        rest = text[len(access) :]
        inner = self._outside(rest, access)
        # Whoever dials 9 00 1 means a number abroad, though digits are missing and 0900 1... is one of the own country.
        if inner.number_class != UNKNOWN or self._idd.match(rest):
            return inner
        # What the gateway dialled may stand without the access digit; it counts where it is an assigned number.
        outer = self._outside(text, "")
        if outer.number_class == INTERNATIONAL and outer.valid is None:
            outer = outer._replace(valid=_is_assigned(outer.number.removeprefix("+")))
        return outer if outer.valid or outer.emergency else inner

    def read_many(self, dialled: Iterable[str]) -> list[Destination]:
        """Read many numbers, in their order."""
        read = self.read
        return [read(text) for text in dialled]

    def _is_emergency(self, digits: str) -> bool:
        return (
            digits in self._own_emergency
            or self._emergency.fullmatch(digits) is not None
            or (self._is_ofcom and classes.SHORT_CODES.get(digits) == EMERGENCY)
        )

    def _with_plus(self, text: str) -> Destination:
        head, _, digits = text.rpartition("+")
        if head not in ("", self._access):
            return _unknown("not_a_number")
        return self._international(digits, head)

    def _outside(self, digits: str, access: str) -> Destination:
        """Read a number as the public network gets it."""
        if self._is_ofcom and digits[0] == "1":
            for prefix in classes.CALL_PREFIXES:
                # Ten digits without access digits may be Glasgow (0141) as a gateway writes it: without its 0.
                is_whole = not access and len(digits) == 10 and digits[len(prefix)] != "0"
                if digits.startswith(prefix) and len(digits) >= len(prefix) + 3 and not is_whole:
                    return self._behind_prefix(digits, prefix, access)
        if len(digits) < 7:
            short = self._short_code(digits, access)
            if short is not None:
                return short
        idd = self._idd.match(digits)
        if idd is not None and idd.end() < len(digits):
            return self._international(digits[idd.end() :], access)
        if self._trunk and digits.startswith(self._trunk):
            found = self._home(digits[len(self._trunk) :], access)
            if found.number_class != UNKNOWN or self._is_ofcom:
                return found
        return self._without_trunk(digits, access)

    def _behind_prefix(self, digits: str, prefix: str, access: str) -> Destination:
        rest = digits[len(prefix) :]
        if self._is_emergency(rest):
            return Destination(EMERGENCY, rest, emergency=True, access=access + prefix)
        return self._outside(rest, access + prefix)

    def _without_trunk(self, digits: str, access: str) -> Destination:
        """Read a local number, or a whole one as some gateways write it: without trunk prefix or without its +."""
        if not self._is_ofcom or len(digits) >= 9:
            found = self._home(digits, access)
            if found.valid:
                return found
        if digits.startswith(self._prefix):
            found = self._home(digits[len(self._prefix) :], access)
            if found.valid:
                return found
        if self._area and 4 <= len(digits) <= 8 and digits[0] not in "01":
            found = self._home(self._area + digits, access)
            if found.number_class != UNKNOWN:
                return found
        return _unknown("too_short" if len(digits) < 9 else "not_in_plan", access)

    def _short_code(self, digits: str, access: str) -> Destination | None:
        if self._is_emergency(digits):
            return Destination(EMERGENCY, digits, emergency=True, access=access)
        found = None
        if self._is_ofcom:
            found = classes.SHORT_CODES.get(digits)
            if found is None and len(digits) == 6:
                found = classes.SHORT_RANGES.get(digits[:3])
        if found is None and self._short.fullmatch(digits):
            found = SHORT_OTHER
        return None if found is None else Destination(found, digits, region=self._country, access=access)

    def _international(self, digits: str, access: str) -> Destination:
        if digits.startswith(self._prefix):
            national = digits[len(self._prefix) :]
            if self._is_ofcom:
                national = national.removeprefix("0")  # +44 (0)20: the trunk prefix does not belong there
            short = self._short_code(national, access) if len(national) < 7 else None
            return short or self._home(national, access)
        if len(digits) > LONGEST_E164:
            return _unknown("too_long", access)
        code = _calling_code(digits)
        if not code:
            is_begun = any(known.startswith(digits) for known in _codes())
            return _unknown("too_short" if is_begun else "unassigned_code", access)
        if len(digits) - len(code) in _incomplete_lengths(code):
            return _unknown("too_short", access)
        regions = COUNTRY_CODE_TO_REGION_CODE[int(code)]
        region = regions[0] if len(regions) == 1 else _country(int(code)).look_up(digits[len(code) :]).region
        return Destination(INTERNATIONAL, "+" + digits, region=region if region != "001" else "", access=access)

    def _home(self, national: str, access: str) -> Destination:
        """Class a national number of the own country calling code."""
        lengths = self._numbers.lengths
        if len(national) not in lengths:
            return _unknown("too_long" if len(national) > max(lengths) else "too_short", access)
        found = self._numbers.look_up(national)
        number = f"+{self._prefix}{national}"
        if self._is_ofcom:
            return self._by_ofcom(national, number, found, access)
        if not found.kind:
            return _unknown("not_in_plan", access)
        # Neighbours under one code (the Caribbean under +1) are foreign countries to a bill.
        number_class = found.kind if found.region == self._country else INTERNATIONAL
        return Destination(number_class, number, region=found.region, access=access, valid=True)

    def _by_ofcom(self, national: str, number: str, found: _National, access: str) -> Destination:
        number_class = _designation(national, bool(found.kind))
        if number_class == "mobile" and found.region in classes.CROWN_DEPENDENCIES:
            number_class = "mobile_crown_dep"
        if number_class == UNKNOWN:
            return _unknown("too_short" if len(national) < 10 else "not_in_plan", access)
        return Destination(number_class, number, False, False, found.region, access, "", bool(found.kind))


def _designation(national: str, is_valid: bool) -> str:
    """Class of a national number of +44 by its first digits and its length; unknown where Ofcom has none."""
    length = len(national)
    if length == 7:
        return classes.ODD_NUMBERS.get(national) or classes.ODD_NUMBERS.get(national[:6], UNKNOWN)
    # Few areas still have numbers of nine digits: only those that are known to be assigned, else a digit is missing.
    if length == 10 or (length == 9 and is_valid):
        table = classes.DESIGNATIONS
        return table.get(national[:4]) or table.get(national[:2]) or table.get(national[:1], UNKNOWN)
    return UNKNOWN


@lru_cache(maxsize=1024)
def _reader(plan: DialPlan | None, country: str) -> NumberReader:
    return NumberReader(plan, country)


def classify(dialled: str, plan: DialPlan | None = None, country: str = "GB") -> Destination:
    """Read one dialled number; `NumberReader` reads many. ValueError where the country is not known."""
    return _reader(plan, country).read(dialled)
