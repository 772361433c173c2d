"""What a file is, found out by decoding it. Runs as a process of its own, see ``realtime/decoding.py``.

It has a low priority and bounds on memory, time and what it writes. Before it decodes it gives up the right to open files and
connections and, on Linux, all system calls but those for computing (``realtime/sandbox.py``), so that code in a hostile file
can neither read, move or remove the server's data nor send it anywhere.
"""

import contextlib
import importlib
import io
import itertools
import json
import os
import resource
import sys
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO, Literal

import puremagic
from PIL import ExifTags, Image, ImageCms, ImageOps, UnidentifiedImageError

from realtime import sandbox

Kind = Literal["image", "video", "audio", "file"]
KINDS = ("image", "video", "audio", "file")
# By which of ffmpeg's demuxers a type is read; it never guesses, and never opens another file or address.
DEMUXERS = {
    "video/mp4": "mov", "video/quicktime": "mov", "audio/mp4": "mov", "video/webm": "matroska",
    "video/x-matroska": "matroska", "video/avi": "avi", "audio/ogg": "ogg", "audio/mpeg": "mp3", "audio/wave": "wav",
    "audio/flac": "flac", "audio/aac": "aac", "audio/x-caf": "caf",
}  # fmt: skip
# How the tracks of a WebM or MP4 file are named.
SOUND_TRACKS = (b"A_OPUS", b"A_VORBIS", b"A_AAC", b"soun")
PICTURE_TRACKS = (b"V_VP8", b"V_VP9", b"V_AV1", b"V_MPEG", b"V_MS/VFW", b"vide")
FORMATS = {"JPEG": "image/jpeg", "PNG": "image/png", "GIF": "image/gif", "WEBP": "image/webp"}
# A JPEG with more than one picture in it, as phones make them, is read by a class of its own.
MIMES = {**FORMATS, "MPO": "image/jpeg"}
BEGINNINGS = (b"\xff\xd8\xff", b"\x89PNG\r\n", b"GIF8")
UTF_16 = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}
HEAD = 4096
SPACE = 64 * 1024
THUMBNAIL = 320
# Sides of a user's picture.
SQUARE = 256
# Above these a picture is a file like any other. A JPEG is decoded at an eighth, and phones make them of 200 megapixels.
MOST_PIXELS = 50_000_000
MOST_JPEG_PIXELS = 250_000_000
# No camera and no program for people makes one of these.
ABSURD_PIXELS = 1_000_000_000
# EXIF orientations that lay the picture on its side.
SIDEWAYS = (5, 6, 7, 8)
# Of a JPEG: each of its scans goes over all of its pixels. Programs that save progressively make about ten.
MOST_SCANS = 100
MOST_SCANNED_PIXELS = 2_500_000_000
# Markers of JPEG (ITU T.81, table B.1).
START_OF_SCAN, END_OF_IMAGE, PROGRESSIVE = 0xDA, 0xD9, (0xC2, 0xC6, 0xCA, 0xCE)
WITHOUT_LENGTH = (0x01, *range(0xD0, 0xD9))
# Of a recording that does not say how long it is, so many packets are looked at.
MOST_PACKETS = 200_000
WRITTEN = 4 << 20
PRIORITY = 10
BROKEN, REFUSED = 3, 4


@dataclass(frozen=True, slots=True)
class Found:
    """``duration`` in seconds; ``thumbnail`` says whether one was written."""

    kind: Kind
    mime: str
    width: int | None = None
    height: int | None = None
    duration: float | None = None
    thumbnail: bool = False


def bound(memory: int, seconds: int) -> None:
    os.nice(PRIORITY)
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_FSIZE, (WRITTEN, WRITTEN))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # We look at the size ourselves, for each format has a limit of its own.
    Image.MAX_IMAGE_PIXELS = None


def load_formats() -> None:
    """All that reads and writes pictures, for nothing can be loaded after ``seal``."""
    Image.preinit()
    importlib.import_module("PIL.MpoImagePlugin")
    importlib.import_module("PIL.WebPImagePlugin")


def seal() -> None:
    """What is open stays open, and nothing more can be: no file, no connection, no library of another program."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))
    sandbox.restrict()


def inspect(file: BinaryIO, thumbnail: BinaryIO, *, square: bool = False) -> Found:
    """Raises OSError and the like for what is broken, ValueError for markup."""
    start = file.read(SPACE)
    file.seek(0)
    head = start[:HEAD]
    if not head:
        raise OSError("empty")
    mime, markup = mime_of(head), is_markup(start)
    recorded = mime in DEMUXERS and has_ffmpeg()
    load_formats()
    seal()
    image = picture(file, thumbnail, square=square)
    if image:
        return image
    if head.startswith(BEGINNINGS) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP"):
        raise OSError("an image that can't be decoded")
    if markup:
        raise ValueError("markup")
    if mime in FORMATS.values():
        mime = "application/octet-stream"
    if recorded:
        return recording(file, mime, thumbnail)
    if mime.startswith("video/") and is_sound_alone(start):
        return Found("audio", mime.replace("video/", "audio/"))
    return Found("file" if mime not in DEMUXERS else "video" if mime.startswith("video/") else "audio", mime)


def is_sound_alone(start: bytes) -> bool:
    """Whether the beginning of a WebM or MP4 file names a track of sound and none of pictures.

    Recorders write codecs (https://www.matroska.org/technical/codec_specs.html) and handlers (ISO/IEC 14496-12) first.
    """
    return any(each in start for each in SOUND_TRACKS) and not any(each in start for each in PICTURE_TRACKS)


def has_ffmpeg() -> bool:
    """Whether the extra ``media`` is installed; loads it, with what it would load itself later."""
    try:
        for name in ("av", "av.stream", "av.subtitles.stream"):
            importlib.import_module(name)
    except ImportError:
        return False
    return True


def is_markup(start: bytes) -> bool:
    """Whether a browser could take it for a page: its first character after white space begins a tag."""
    text = start.decode(UTF_16.get(start[:2], "latin-1"), "ignore")
    return text.lstrip("\ufeff\xef\xbb\xbf \t\r\n\f\0").startswith("<")


def mime_of(head: bytes) -> str:
    """By the first bytes; where they could be of several, what those have in common."""
    if head.startswith(b"PK\x03\x04"):
        return "application/zip"
    if head[4:8] == b"ftyp" and head[8:11] in (b"M4A", b"M4B"):
        return "audio/mp4"
    try:
        mime = str(puremagic.from_string(head, mime=True))
    except (puremagic.PureError, ValueError):
        mime = ""
    return {"application/ogg": "audio/ogg", "text/ascii": "text/plain", "": "application/octet-stream"}.get(mime, mime)


def picture(file: BinaryIO, thumbnail: BinaryIO, *, square: bool) -> Found | None:
    """An image, decoded whole so that a broken one is found out; None for what is none."""
    try:
        image: Image.Image = Image.open(file, formats=list(FORMATS))
    except UnidentifiedImageError:
        file.seek(0)
        return None
    with image:
        mime = MIMES[str(image.format)]
        width, height = image.size
        jpeg = mime == "image/jpeg"
        if width * height > ABSURD_PIXELS:
            raise OSError("too many pixels")
        if width * height > (MOST_JPEG_PIXELS if jpeg else MOST_PIXELS):
            return Found("file", mime)
        if jpeg and too_many_scans(file, width * height):
            return Found("file", mime)
        if jpeg:
            # Every block of it is read all the same, so that a broken one is found out.
            image.draft(None, (2 * THUMBNAIL, 2 * THUMBNAIL))
        large = jpeg and "progressive" in image.info and width * height > MOST_PIXELS
        try:
            image.load()
        except (MemoryError, OSError) as error:
            # Of a progressive one libjpeg keeps all of it, and says of too little memory only that it can't go on.
            if large or isinstance(error, MemoryError):
                return Found("file", mime)
            raise
        if image.getexif().get(ExifTags.Base.Orientation) in SIDEWAYS:
            width, height = height, width
        shrink(ImageOps.exif_transpose(image), thumbnail, square=square)
    return Found("image", mime, width, height, thumbnail=True)


def too_many_scans(file: BinaryIO, pixels: int) -> bool:
    """Of a progressive JPEG, whose every scan goes over all of its pixels; others have one scan a colour."""
    place = file.tell()
    file.seek(0)
    scans = scans_of(file.read())
    file.seek(place)
    return scans > MOST_SCANS or scans * pixels > MOST_SCANNED_PIXELS


def scans_of(data: bytes) -> int:
    """How many scans a progressive JPEG has; 0 for another one. What is in segments or behind the picture does not count."""
    at, scans, progressive = 2, 0, False
    while (at := data.find(b"\xff", at)) >= 0 and at + 1 < len(data):
        marker = data[at + 1]
        at += 2
        if marker == END_OF_IMAGE:
            break
        if marker in (0x00, 0xFF) or marker in WITHOUT_LENGTH:
            # Within a scan: a byte of data, a filler, or a restart.
            at -= marker == 0xFF
            continue
        progressive |= marker in PROGRESSIVE
        scans += marker == START_OF_SCAN
        at += int.from_bytes(data[at : at + 2], "big")
    return scans if progressive else 0


def shrink(image: Image.Image, thumbnail: BinaryIO, *, square: bool = False) -> None:
    """A fresh picture carries nothing of what the file says of its maker."""
    if square:
        image = ImageOps.fit(image, (SQUARE, SQUARE))
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    small = in_standard_colours(image)
    clean = Image.new(small.mode, small.size)
    clean.paste(small)
    clean.save(thumbnail, "WEBP", quality=80)


def in_standard_colours(image: Image.Image) -> Image.Image:
    """As sRGB, which is what a picture without a profile is taken for: a phone's has the wider Display P3."""
    mode = "RGBA" if "A" in image.getbands() or "transparency" in image.info else "RGB"
    profile = image.info.get("icc_profile")
    source = image if image.mode in ("RGB", "RGBA", "CMYK", "L") else image.convert(mode)
    if profile:
        # A profile that can't be read, or is of other colours than the picture's, changes nothing.
        with contextlib.suppress(ImageCms.PyCMSError, OSError, ValueError, TypeError):
            own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(source, own, ImageCms.createProfile("sRGB"), outputMode=mode)
            if converted is not None:
                return converted
    return source.convert(mode)


def recording(file: BinaryIO, mime: str, thumbnail: BinaryIO) -> Found:
    """A video or a sound, with its first picture that can be decoded."""
    import av
    from av.stream import Disposition

    file.seek(0)
    with av.open(file, "r", format=DEMUXERS[mime]) as container:
        pictures = [each for each in container.streams.video if not each.disposition & Disposition.attached_pic]
        if not pictures and not container.streams.audio:
            raise OSError("neither pictures nor sound")
        duration = round(container.duration / av.time_base, 3) if container.duration else measured(container)
        if not pictures:
            return Found("audio", mime.replace("video/", "audio/"), duration=duration)
        if pictures[0].width * pictures[0].height > MOST_PIXELS:
            raise OSError("too many pixels")
        # The sandbox starts no threads; some decoders have their own, whatever the type says.
        pictures[0].thread_type, pictures[0].codec_context.thread_count = "NONE", 1
        frame = next(container.decode(pictures[0]))
        upright = frame.to_image(threads=1).rotate(frame.rotation, expand=True)  # type: ignore[no-untyped-call]
        width, height = upright.size
        shrink(upright, thumbnail)
        return Found("video", mime, width, height, duration, thumbnail=True)


def measured(container: Any) -> float | None:
    """Seconds up to the last packet, where the file does not say it: what browsers record."""
    packets, end = container.demux(), 0.0
    for packet in itertools.islice(packets, MOST_PACKETS):
        if packet.pts is not None:
            end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
    complete = next(packets, None) is None
    container.seek(0)
    return round(end, 3) if end and complete else None


def main() -> int:
    """Writes what was found as a line of JSON, and ends when its input does; the status says why nothing was found."""
    bound(int(sys.argv[3]), int(sys.argv[4]))
    found, status = None, BROKEN
    try:
        with open(sys.argv[1], "rb") as file, open(sys.argv[2], "wb") as thumbnail:
            found, status = asdict(inspect(file, thumbnail, square="square" in sys.argv[5:])), 0
    except ValueError as error:
        status = REFUSED if str(error) == "markup" else BROKEN
    except BaseException:
        # Whatever a decoder does with a hostile file, the file is broken.
        status = BROKEN
    print(json.dumps(found), flush=True)
    sys.stdin.buffer.read()
    return status


if __name__ == "__main__":
    os._exit(main())
