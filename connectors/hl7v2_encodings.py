"""HL7 v2, the encodings: what MSH-18 calls a character set (HL7 table 0211, and what is written in its place)."""

_OF_ISO = {f"8859/{part}": f"iso8859-{part}" for part in (1, 2, 3, 4, 5, 6, 7, 8, 9, 15)}
_CODECS = {
    **_OF_ISO,
    **{f"iso-{name.replace('/', '-')}": codec for name, codec in _OF_ISO.items()},
    **{f"iso{name.replace('/', '-')}": codec for name, codec in _OF_ISO.items()},
    "ascii": "utf-8",  # which it is a part of; what it does not allow is either UTF-8 or refused
    "us-ascii": "utf-8",
    "iso ir6": "utf-8",
    "unicode utf-8": "utf-8",
    "unicode": "utf-8",
    "utf-8": "utf-8",
    "utf8": "utf-8",
    "iso ir14": "shift_jis",
    "iso ir87": "iso2022_jp",
    "iso ir159": "iso2022_jp_2",
    "gb 18030-2000": "gb18030",
    "ks x 1001": "euc_kr",
    "big-5": "big5",
    "big5": "big5",
    "windows-1252": "cp1252",
    "cp1252": "cp1252",
    "latin1": "iso8859-1",
}

ENCODINGS = tuple(sorted(_CODECS))


def codec_of(name: str) -> str | None:
    """The codec of a character set, in whichever case; UTF-8 where nothing is said, None for one that is not known."""
    return _CODECS.get(name.strip().lower()) if name.strip() else "utf-8"
