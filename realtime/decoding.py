"""What a file is, found out by looking into it: in a process of its own, with bounds on memory, time and what it writes.

A bomb or a broken file costs that process, never the server. Names and headers that came with a file count for nothing.
"""

import asyncio
import contextlib
import io
import json
import os
import resource
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import puremagic
from PIL import ExifTags, Image, ImageCms, ImageOps, UnidentifiedImageError

from storage.errors import Invalid, Unsupported

Kind = Literal["image", "video", "audio", "file"]
# By which of ffmpeg's demuxers a type is read; it never guesses, and never opens another file or address.
DEMUXERS = {
    "video/mp4": "mov", "video/quicktime": "mov", "audio/mp4": "mov", "video/webm": "matroska",
    "video/x-matroska": "matroska", "video/avi": "avi", "audio/ogg": "ogg", "audio/mpeg": "mp3", "audio/wave": "wav",
    "audio/flac": "flac", "audio/aac": "aac", "audio/x-caf": "caf",
}  # fmt: skip
FORMATS = {"JPEG": "image/jpeg", "PNG": "image/png", "GIF": "image/gif", "WEBP": "image/webp"}
# A JPEG with more than one picture in it, as phones make them, is read by a class of its own.
MIMES = {**FORMATS, "MPO": "image/jpeg"}
BEGINNINGS = (b"\xff\xd8\xff", b"\x89PNG\r\n", b"GIF8")
UTF_16 = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}
HEAD = 4096
SPACE = 64 * 1024
THUMBNAIL = 320
# Above these a picture is a file like any other. A JPEG is decoded at an eighth, and phones make them of 200 megapixels.
MOST_PIXELS = 50_000_000
MOST_JPEG_PIXELS = 250_000_000
# No camera and no program for people makes one of these.
ABSURD_PIXELS = 1_000_000_000
# EXIF orientations that lay the picture on its side.
SIDEWAYS = (5, 6, 7, 8)
MEMORY = 1 << 30
CPU_SECONDS = 10
PATIENCE = 20.0
AT_ONCE = 2
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


class Decoder:
    """Looks into files, a few at a time; ``memory`` in bytes and ``seconds`` of the processor for each.

    The processes get ``environment`` and nothing of the server's own, in which there are secrets.
    """

    def __init__(
        self, memory: int = MEMORY, seconds: int = CPU_SECONDS, environment: Mapping[str, str] | None = None
    ) -> None:
        self.bounds = (str(memory), str(seconds))
        self.environment = dict(environment or {})
        self.places = asyncio.Semaphore(AT_ONCE)

    async def look(self, path: Path, thumbnail: Path) -> Found:
        """Writes a WebP picture of it to ``thumbnail`` where it can be shown.

        Raises Unsupported for markup, Invalid for what is broken, or takes too much memory or time.
        """
        async with self.places:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "realtime.decoding", str(path.absolute()), str(thumbnail.absolute()), *self.bounds,
                stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL, cwd=Path(__file__).parent.parent,
                env=self.environment,
            )  # fmt: skip
            try:
                async with asyncio.timeout(PATIENCE):
                    output, _ = await process.communicate()
            except TimeoutError:
                raise Invalid.field("file", "takes too long to look into") from None
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
        if process.returncode == REFUSED:
            raise Unsupported("Markup is not taken")
        if process.returncode == BROKEN:
            raise Invalid.field("file", "is broken: it can't be decoded")
        if process.returncode:
            raise Invalid.field("file", "takes too much memory or time to be decoded")
        return Found(**json.loads(output))


# In the process of its own


def bound(memory: int, seconds: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_FSIZE, (4 << 20, 4 << 20))
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # We look at the size ourselves, for each format has a limit of its own.
    Image.MAX_IMAGE_PIXELS = None


def inspect(path: Path, thumbnail: Path) -> Found:
    """Raises OSError and the like for what is broken, ValueError for markup."""
    with path.open("rb") as file:
        start = file.read(SPACE)
    head = start[:HEAD]
    if not head:
        raise OSError("empty")
    image = picture(path, thumbnail)
    if image:
        return image
    if head.startswith(BEGINNINGS) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP"):
        raise OSError("an image that can't be decoded")
    if is_markup(start):
        raise ValueError("markup")
    mime = mime_of(head)
    if mime in FORMATS.values():
        mime = "application/octet-stream"
    if mime not in DEMUXERS:
        return Found("file", mime)
    return recording(path, mime, thumbnail) or Found("video" if mime.startswith("video/") else "audio", mime)


def is_markup(start: bytes) -> bool:
    """What a browser could take for a page: a tag is the first thing in it that is no space."""
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


def picture(path: Path, thumbnail: Path) -> Found | None:
    """An image, decoded whole so that a broken one is found out; None for what is none."""
    try:
        image: Image.Image = Image.open(path, formats=list(FORMATS))
    except UnidentifiedImageError:
        return None
    with image:
        mime = MIMES[str(image.format)]
        width, height = image.size
        jpeg = mime == "image/jpeg"
        if width * height > ABSURD_PIXELS:
            raise OSError("too many pixels")
        if width * height > (MOST_JPEG_PIXELS if jpeg else MOST_PIXELS):
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
        shrink(ImageOps.exif_transpose(image), thumbnail)
    return Found("image", mime, width, height, thumbnail=True)


def shrink(image: Image.Image, thumbnail: Path) -> None:
    """A fresh picture carries nothing of what the file says of its maker."""
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


def recording(path: Path, mime: str, thumbnail: Path) -> Found | None:
    """A video or a sound, its first picture that can be decoded; None without ffmpeg (the extra ``media``)."""
    try:
        import av
        from av.stream import Disposition
    except ImportError:
        return None
    with path.open("rb") as file, av.open(file, "r", format=DEMUXERS[mime]) as container:
        pictures = [each for each in container.streams.video if not each.disposition & Disposition.attached_pic]
        if not pictures and not container.streams.audio:
            raise OSError("neither pictures nor sound")
        duration = round(container.duration / av.time_base, 3) if container.duration else measured(container)
        if not pictures:
            return Found("audio", mime.replace("video/", "audio/"), duration=duration)
        if pictures[0].width * pictures[0].height > MOST_PIXELS:
            raise OSError("too many pixels")
        pictures[0].thread_type = "NONE"
        frame = next(container.decode(pictures[0]))
        upright = frame.to_image().rotate(frame.rotation, expand=True)  # type: ignore[no-untyped-call]
        width, height = upright.size
        shrink(upright, thumbnail)
        return Found("video", mime, width, height, duration, thumbnail=True)


def measured(container: Any) -> float | None:
    """Seconds up to the last packet, where the file does not say it: what browsers record."""
    ends = [
        float((packet.pts + (packet.duration or 0)) * packet.time_base)
        for packet in container.demux()
        if packet.pts is not None
    ]
    container.seek(0)
    return round(max(ends), 3) if ends else None


def main() -> int:
    path, thumbnail = Path(sys.argv[1]), Path(sys.argv[2])
    bound(int(sys.argv[3]), int(sys.argv[4]))
    try:
        print(json.dumps(asdict(inspect(path, thumbnail))))
    except ValueError as error:
        return REFUSED if str(error) == "markup" else BROKEN
    except BaseException:
        # Whatever a decoder does with a hostile file: the parent is told that it is broken.
        return BROKEN
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)
