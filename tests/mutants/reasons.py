"""Why a mutant may survive: by what it changes, and where."""

import re

UNASKED = "no test asks for it yet"
# Each reason, and pieces of the change of which one must be found.
REASONS: dict[str, list[str]] = {
    "a size or a time that only tunes, changed by a little": [
        r"`- [A-Z_]{3,} = ", r"limit: int = (99|101)", r"rows: int = (499|501)", r"patience: float", r"LEASE [/*] ",
        r"LEASE \* SECOND", r"most=16", r"every\[start", r"len\(every\), 50", r"held\[start", r"limit=3\)",
        r"attempts \+ counts, 30", r"token_hex",
    ],
    "the only item of a list, taken from its other end": [r"\+ .*\[ -1\]"],
    "a page of one more, of which only the first is used": [r"\.limit\( 2\)", r"limit=limit \+ 2"],
    "equal times, which no clock shows twice": [
        r"[<>]= ?[^=].*\b(at|since|now|tx\.now|moment|upto|floor|start|end)\b", r"deadline_at < now", r">= known\.created_at",
    ],
    "what is read together could change between two statements, which no test makes happen": [r"snapshot=False"],
    "a pause, or a wake before the next look: without it the same is done more often, or up to a second later": [
        r"sleep\(", r"\.wait\(\) \+ pass", r"awake\.clear", r'"\]\.set\(\) \+ pass', r"self\.wake\(\) \+ pass",
        r"more = True", r"not more or", r"== limit \+", r"awake\.values",
    ],
    "the same work in other portions, or an empty look that is spared": [
        r"ROWS_AT_ONCE or", r"if not self\.room", r"timeout=max", r"\[: 3\]",
        r"if body\.chatId is None (or|and) body\.credits",
    ],
    "a value of before the first use, which is never read": [
        r"live_at = ", r"self\.due = 0", r"size = ", r"read_count: int", r"joined_seq = 0", r"upto: int = -1",
        r"after: int = -1", r"badges\.get", r"ref_pk or", r"joined_seq: int = 1", r'starts_at", ', r", -1\) >=",
    ],
    "a second look at what was looked at before: a right by the route, a state by the statement before": [
        r"require\(.*\) \+ pass", r"fresh\(tx\) \+ pass", r"access is None and me", r"member is None and",
        r"recipient is None and", r"id_taken", r"tenant_pk, body\.id", r"body\.id\}\"\] if ",
    ],
    "what is dropped anyway when its owner goes": [r"\.clear\(\) \+ pass", r"_fresh\.add", r"expiries\.discard"],
}  # fmt: skip


def reason(place: str, diff: str) -> str:
    """The first that fits; what fits none is asked for by no test."""
    for words, pieces in REASONS.items():
        if any(re.search(piece, f"{place} {diff}") for piece in pieces):
            return words
    return UNASKED
