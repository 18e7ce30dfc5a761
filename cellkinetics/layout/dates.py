"""Dates that have one meaning only, as seconds since 1970, and the names of columns that hold them."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from cellkinetics.meaning.synonyms import plain

DATES = {"date", "sample_date", "sampling_date", "collection_date", "date_of_sample", "date_of_sampling"}
DATES |= {"date_collected", "date_drawn", "draw_date", "date_of_collection", "blood_draw_date", "visit_date"}
DATES |= {"sample_datetime", "sample_date_time", "collection_datetime", "datetime", "date_time", "adt", "adtm"}
DATES |= {"pcdtc", "cpdtc", "lbdtc", "sampledate", "samplingdate", "collectiondate", "date_of_visit"}
INFUSION_DATES = {"infusion_date", "date_of_infusion", "dose_date", "dosing_date", "date_of_dose", "day_0_date"}
INFUSION_DATES |= {"infusion_datetime", "date_infused", "infusiondate", "dosedate", "rfxstdtc", "rfstdtc", "exstdtc"}
INFUSION_DATES |= {"trtsdt", "trtsdtm", "date_of_day_0", "first_infusion_date", "pcrfdtc"}
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_ISO = re.compile(
    r"(\d{4})([-/.])(\d{1,2})\2(\d{1,2})(?:[T ](\d{1,2}:\d{2}(?::\d{2}(?:\.\d{1,6})?)?)\s*(Z|[+-]\d{2}:?\d{2})?)?",
    re.ASCII | re.IGNORECASE,
)
_COMPACT = re.compile(r"((?:19|20)\d{2})(\d{2})(\d{2})(?:T(\d{2})(\d{2})(\d{2})?(Z)?)?", re.ASCII)
_CLOCK_AFTER = r"(?:[T :](\d{1,2}:\d{2}(?::\d{2})?))?"
# The month by its name: 09-Mar-2024, 9 March 2024, 09MAR2024; Mar 9, 2024.
_NAMED = re.compile(rf"(\d{{1,2}})[-\s./]*([A-Za-z]{{3,9}})\.?[-\s./,]*(\d{{4}}){_CLOCK_AFTER}", re.ASCII)
_MONTH_FIRST = re.compile(rf"([A-Za-z]{{3,9}})\.?\s+(\d{{1,2}}),?\s+(\d{{4}}){_CLOCK_AFTER}", re.ASCII)
# 13/03/2024 and 3/13/2024 are one day each, because no year has a month 13.
_STROKES = re.compile(rf"(\d{{1,2}})([-/.])(\d{{1,2}})\2(\d{{4}}){_CLOCK_AFTER}", re.ASCII)
_SERIAL = re.compile(r"[1-9]\d{4}(\.\d+)?", re.ASCII)


def seconds_of(text: str) -> tuple[float, bool] | None:
    """Seconds since 1970 and whether a time zone is said; None where it is no date or may be two.

    Examples
    --------
    >>> seconds_of("2024-03-09") == seconds_of("09-Mar-2024") == seconds_of("20240309")
    True
    >>> seconds_of("3/4/2024") is None
    True
    """
    try:
        if said := _ISO.fullmatch(text):
            year, _, month, day, clock, zone = said.groups()
        elif said := _COMPACT.fullmatch(text):
            year, month, day, hour, minute, second, zone = said.groups()
            clock = f"{hour}:{minute}:{second or '00'}" if hour else None
        elif said := _NAMED.fullmatch(text):
            day, name, year, clock = said.groups()
            month, zone = _month(name), None
        elif said := _MONTH_FIRST.fullmatch(text):
            name, day, year, clock = said.groups()
            month, zone = _month(name), None
        elif (said := _STROKES.fullmatch(text)) and (max(int(said[1]), int(said[3])) > 12 or said[1] == said[3]):
            month, day = sorted((said[1], said[3]), key=int)
            year, clock, zone = said[4], said[5], None
        else:
            return None
        hour, _, rest = (clock or "0:00").partition(":")
        iso = f"{year}-{int(month):02d}-{int(day):02d}T{int(hour):02d}:{rest}"
        moment = datetime.fromisoformat(iso + (zone or "").upper())
    except ValueError:
        return None
    return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp(), bool(zone)


def is_serial(text: str) -> bool:
    """Whether a cell is a date as a spreadsheet counts it, in days: 45360."""
    return _SERIAL.fullmatch(text) is not None


def heading(name: str) -> str:
    """A heading as the names above are written: SampleDate is sample_date."""
    return plain(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name))


def _month(name: str) -> int:
    return _MONTHS.index(name.casefold()[:3]) + 1
