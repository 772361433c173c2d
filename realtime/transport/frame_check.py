"""What RFC 6455 forbids in a client's frames and aiohttp's reader accepts: looked for before the reader sees the bytes."""

FINAL, OPCODE, MASK, SHORT = 0x80, 0x0F, 0x80, 0x7F
CONTINUATION, TEXT, BINARY, CLOSE = 0x0, 0x1, 0x2, 0x8
# The first byte of a text message in one frame, which nearly all are.
WHOLE_TEXT = FINAL | TEXT
MASK_BYTES = 4
# Lengths of the extended length by the short one, and the least length that each is for (section 5.2).
EXTENDED_BYTES = {126: 2, 127: 8}
LEAST = {126: 126, 127: 65536}
# Section 7.4: for the wire, registered with IANA or reserved for libraries and applications.
CLOSE_CODES = frozenset((*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)))


class FrameCheck:
    """Follows the frames of one connection, however the reads cut them.

    A frame must have a mask (5.1), the shortest form of its length (5.2), a new message must not begin within another
    (5.4), and the code of a Close must be one that may be sent (7.4).
    """

    __slots__ = ("head", "left", "within")

    def __init__(self) -> None:
        self.head = b""
        self.left = 0
        self.within = False

    def accepted(self, data: bytes) -> int:
        """How many bytes of what was read may be handed on: fewer than there are where a frame is not allowed."""
        if not self.head and not self.left and not self.within and len(data) > MASK_BYTES + 1:
            short = data[1] & SHORT
            if data[0] == WHOLE_TEXT and data[1] & MASK and short < 126 and len(data) == 2 + MASK_BYTES + short:
                return len(data)
        place = 0
        while place < len(data):
            if self.left:
                step = min(self.left, len(data) - place)
                self.left -= step
                place += step
                continue
            start = place
            while (missing := self._missing()) and place < len(data):
                self.head += data[place : place + missing]
                place = min(len(data), place + missing)
            if missing:
                return len(data)
            if not self._begin():
                return start
        return len(data)

    def _missing(self) -> int:
        """Bytes of the frame's head that did not come yet; a Close's code counts as its head."""
        head = self.head
        if len(head) < 2:
            return 2 - len(head)
        if not head[1] & MASK:
            return 0
        short = head[1] & SHORT
        size = 2 + EXTENDED_BYTES.get(short, 0) + MASK_BYTES
        if head[0] & OPCODE == CLOSE and 2 <= short < 126:
            size += 2
        return size - len(head)

    def _begin(self) -> bool:
        """Read the head that is complete now; False if the frame is not allowed."""
        head, self.head = self.head, b""
        if not head[1] & MASK:
            return False
        size = short = head[1] & SHORT
        extended = EXTENDED_BYTES.get(short, 0)
        if extended:
            size = int.from_bytes(head[2 : 2 + extended], "big")
            if size < LEAST[short]:
                return False
        opcode = head[0] & OPCODE
        if opcode in (TEXT, BINARY) and self.within:
            return False
        if opcode in (CONTINUATION, TEXT, BINARY):
            self.within = not head[0] & FINAL
        self.left = size
        if opcode == CLOSE and 2 <= short < 126:
            mask, code = head[2:6], head[6:8]
            self.left -= 2
            return int.from_bytes(bytes((code[0] ^ mask[0], code[1] ^ mask[1])), "big") in CLOSE_CODES
        return True
