"""Files as people send them, made anew for each test: pictures, a pixel bomb, videos, voice notes."""

import io
import struct
import zlib
from fractions import Fraction
from typing import Any

import av
from PIL import Image


def encoded(format: str, size: tuple[int, int] = (640, 480), **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise(size, 50).convert("RGB").save(buffer, format, **options)
    return buffer.getvalue()


def turned() -> bytes:
    """A photo that lies on its side, with its maker's place in it."""
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "MAKER-OF-THE-CAMERA"
    return encoded("JPEG", exif=exif)


def bomb(width: int, height: int) -> bytes:
    """A PNG of so many pixels that says little."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(b"\0" * (width + 1) * min(height, 2000), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def video(
    format: str = "mp4", codec: str = "mpeg4", *, seconds: int = 1, size: tuple[int, int] = (320, 240), turned: int = 0
) -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=format) as container:
        stream: Any = container.add_stream(codec, rate=10)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        if turned:
            stream.set_display_rotation(turned)
        for number in range(seconds * 10):
            picture = Image.new("RGB", size, (number * 5 % 255, 80, 160))
            frame = av.VideoFrame.from_image(picture)  # type: ignore[no-untyped-call]
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return buffer.getvalue()


def voice(format: str = "ogg", codec: str = "libopus", *, seconds: int = 1, live: bool = False) -> bytes:
    """``live`` as a browser records it: its length is not known when it begins."""
    rate = 48_000
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=format, options={"live": "1"} if live else {}) as container:
        stream: Any = container.add_stream(codec, rate=rate)
        stream.layout = "mono"
        fit = av.AudioResampler(format=stream.format, layout="mono", rate=rate, frame_size=stream.frame_size or 960)
        for number in range(seconds * 10):
            frame = av.AudioFrame(format="s16", layout="mono", samples=rate // 10)
            for plane in frame.planes:
                plane.update(bytes(plane.buffer_size))
            frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
            frame.pts = number * frame.samples
            for each in fit.resample(frame):
                container.mux(stream.encode(each))
        container.mux(stream.encode())
    return buffer.getvalue()
