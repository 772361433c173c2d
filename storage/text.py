"""Text as people see it: which texts are the same to a search, which show nothing, and where one may be cut."""

import re
import unicodedata

import regex

# Accents of Latin, Greek and Cyrillic, points of Hebrew, vowels and signs of Arabic. Marks of other scripts are letters.
MARKS = re.compile(
    "[\u0300-\u036f\u0483-\u0489\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u064b-\u065f\u0670"
    "\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed\u08d3-\u08ff\u1ab0-\u1aff\u1dc0-\u1dff\ufe20-\ufe2f]+"
)
# Marks between the letters of a Hangul syllable keep these apart: they are two characters, with and without the marks.
HANGUL = re.compile("[\u1100-\u1175]")
BETWEEN_LETTERS = re.compile(f"(?<=[\u1100-\u1175])(?:{MARKS.pattern})(?=[\u1161-\u1175\u11a8-\u11c2])")
# What has no glyph: format characters, fillers, variation selectors, spaces, and Braille's empty cell.
HIDDEN = r"\p{Default_Ignorable_Code_Point}\p{White_Space}\p{Cc}\p{Cf}\u2800"
SHOWN_CHARACTER, HIDDEN_CHARACTER = regex.compile(f"[^{HIDDEN}]"), regex.compile(f"[{HIDDEN}]")
# Embeddings, overrides and isolates: one that is not closed turns the text around it.
DIRECTIONS = regex.compile("[\u202a-\u202e\u2066-\u2069]+")
# No writing has longer ones; what has is cut anywhere.
LONGEST_CLUSTER = 64
CLUSTER = regex.compile(r"\X")


def fold(text: str) -> str:
    """The text for comparison: without case, without accents, and with one letter for ``ı İ I i``."""
    if text.isascii():
        return text.lower()
    # Turkish has two letters i; whoever searches may have any keyboard.
    one_i = text.replace("ı", "i").replace("İ", "i").replace("I", "i")
    decomposed = unicodedata.normalize("NFKD", one_i).casefold()
    decomposed = unicodedata.normalize("NFKD", decomposed)
    parts = BETWEEN_LETTERS.split(decomposed) if HANGUL.search(decomposed) else [decomposed]
    return "".join(unicodedata.normalize("NFC", MARKS.sub("", each)) for each in parts)


def is_blank(text: str) -> bool:
    """Whether nothing of it would be seen."""
    return SHOWN_CHARACTER.search(text) is None


def hides_something(text: str) -> bool:
    """Whether one of its characters would not be seen."""
    return HIDDEN_CHARACTER.search(text) is not None


def without_directions(text: str) -> str:
    """A name without the characters that turn what stands beside it; letters keep their own direction."""
    return DIRECTIONS.sub("", text)


def cut(text: str, size: int) -> str:
    """The beginning of a text, at most ``size`` code points, which ends between two characters as people see them."""
    return text if len(text) <= size else text[: max(end for end in boundaries(text) if end <= size)]


def boundaries(text: str) -> list[int]:
    """The places between characters as people see them, the beginning and the end included."""
    places = [0]
    for cluster in CLUSTER.finditer(text):
        if cluster.end() - cluster.start() > LONGEST_CLUSTER:
            places.extend(range(cluster.start() + 1, cluster.end()))
        places.append(cluster.end())
    return places
