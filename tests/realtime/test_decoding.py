"""Files as they come: what they are by their content, and that a hostile one costs a clear error and nothing else."""

import asyncio
import io
import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from realtime import decoding
from realtime.decoding import Decoder
from realtime.inspection import BROKEN, MOST_SCANNED_PIXELS, MOST_SCANS, Found, scans_of
from realtime.schema.limits import Limits
from storage.errors import Invalid, TooMany, Unavailable, Unsupported
from tests.conftest import eventually
from tests.support.files import bomb, encoded, turned, video, voice
from tests.support.guard import HANG_SECONDS

OWNER: dict[str, Any] = {"user_pk": 1, "tenant_pk": 1}


async def look(tmp_path: Path, data: bytes, name: str = "file", **environment: str) -> Found:
    path = tmp_path / name
    path.write_bytes(data)
    decoder = Decoder(Limits(), seconds=600, environment=environment)
    return await decoder.look(path, tmp_path / "thumbnail", **OWNER)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "WEBP"])
async def test_images(tmp_path: Path, format: str) -> None:
    found = await look(tmp_path, encoded(format))
    assert found == Found("image", f"image/{format.lower()}", 640, 480, thumbnail=True)
    with Image.open(tmp_path / "thumbnail") as small:
        assert small.format == "WEBP" and small.size == (320, 240)


async def test_a_photo_on_its_side(tmp_path: Path) -> None:
    found = await look(tmp_path, turned())
    assert (found.width, found.height) == (480, 640)
    assert b"MAKER" in (tmp_path / "file").read_bytes() and b"MAKER" not in (tmp_path / "thumbnail").read_bytes()
    with Image.open(tmp_path / "thumbnail") as small:
        assert small.size == (240, 320)


@pytest.mark.parametrize(
    ("data", "mime", "kind"),
    [
        (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "application/pdf", "file"),
        (b"PK\x03\x04\x14\0\0\0\x08\0", "application/zip", "file"),
        (b"just words", "application/octet-stream", "file"),
        (bytes(range(256)) * 4, "application/octet-stream", "file"),
    ],
)
async def test_by_content(tmp_path: Path, data: bytes, mime: str, kind: str) -> None:
    found = await look(tmp_path, data, "photo.jpg")
    assert (found.mime, found.kind, found.thumbnail) == (mime, kind, False), "the name counts for nothing"


@pytest.mark.parametrize(
    "data",
    [
        b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", b"<!DOCTYPE html><html></html>",
        b"\xef\xbb\xbf  <?xml version='1.0'?><a/>", b"\n\n<script>alert(1)</script>",
        b" " * 50_000 + b"<SCRIPT>alert(1)</SCRIPT>", b"\xfe\xff" + "<svg/>".encode("utf-16-be"),
        b"<a>anything that opens with a tag</a>",
    ],
    ids=range(7),
)  # fmt: skip
async def test_markup_is_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(Unsupported):
        await look(tmp_path, data, "photo.jpg")


@pytest.mark.parametrize(
    "data",
    [
        b"", encoded("JPEG")[:2000], encoded("PNG")[:5000], b"\x89PNG\r\n\x1a\n" + b"\0" * 100,
        b"\xff\xd8\xff\xe0" + b"\0" * 50,
        b"GIF89a\xff\xff\xff\xff", bomb(60_000, 60_000),
    ],
    ids=["empty", "cut jpeg", "cut png", "false png", "false jpeg", "huge gif", "bomb"],
)  # fmt: skip
async def test_broken_and_hostile_images(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(Invalid):
        await look(tmp_path, data, "photo.jpg")


async def test_what_takes_too_long_on_a_busy_machine_can_be_sent_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was stopped although it had used little of what it may use: the file is not to blame."""
    monkeypatch.setattr(decoding, "DECODE_SECONDS", 0.01)
    with pytest.raises(Unavailable):
        await look(tmp_path, encoded("PNG", (3000, 3000)))


async def test_photos_of_phones_with_more_than_one_picture(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    first, second = (Image.effect_noise((640, 480), 50).convert("RGB") for _ in range(2))
    first.save(buffer, "MPO", save_all=True, append_images=[second])
    assert await look(tmp_path, buffer.getvalue()) == Found("image", "image/jpeg", 640, 480, thumbnail=True)


@pytest.mark.parametrize(
    ("data", "mime"),
    [
        (b"\0\0\0\x24ftypheic\0\0\0\0mif1heic" + bytes(60), "image/heif"), (b"BMW is a car", None),
        (b"P5 hello", None), (b"a text that says <body", None), (b"%PDF-1.7 <html>", "application/pdf"),
    ],
)  # fmt: skip
async def test_what_is_not_decoded_is_a_file(tmp_path: Path, data: bytes, mime: str | None) -> None:
    found = await look(tmp_path, data)
    assert found.kind == "file" and mime in (None, found.mime)


MAD = """
def from_string(*_, **__):
    {fault}
    return "text/plain"
PureError = KeyError
"""


@pytest.mark.parametrize(
    "fault", ["held = bytearray(1 << 30)", "while True: pass", "open(__file__ + '.big', 'wb').write(bytes(5 << 20))"]
)
async def test_memory_time_and_what_is_written_are_bounded(
    tmp_path: Path, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A decoder gone mad is stopped, long before the patience is over."""
    (tmp_path / "puremagic.py").write_text(MAD.format(fault=fault))
    path = tmp_path / "file"
    path.write_bytes(b"words")
    monkeypatch.setattr(decoding, "DECODE_SECONDS", HANG_SECONDS)
    decoder = Decoder(Limits(), memory=1 << 30, seconds=1, environment={"PYTHONPATH": str(tmp_path)})
    with pytest.raises(Invalid) as stopped:
        await decoder.look(path, tmp_path / "thumbnail", **OWNER)
    assert "takes too long" not in stopped.value.details[0].message


async def test_files_of_a_tenant_take_half_of_the_queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoder, over = Decoder(Limits(decodings_waiting=2)), asyncio.Event()

    async def run(*_: Path) -> tuple[int, bytes, float]:
        await over.wait()
        return BROKEN, b"", 0.0

    monkeypatch.setattr(decoder, "_run", run)

    def look(user_pk: int, tenant_pk: int) -> "asyncio.Task[Found]":
        path = tmp_path / "file"
        return asyncio.create_task(decoder.look(path, tmp_path / str(user_pk), user_pk=user_pk, tenant_pk=tenant_pk))

    tasks = [look(number, 1) for number in range(decoding.DECODERS_AT_ONCE + 1)]
    await eventually(lambda: decoder.turns.waiting == 1)
    with pytest.raises(Unavailable):
        await look(100, 1)
    tasks.append(look(101, 2))
    await eventually(lambda: decoder.turns.waiting == 2)
    with pytest.raises(Unavailable):
        await look(102, 2)
    over.set()
    assert all(isinstance(each, Invalid) for each in await asyncio.gather(*tasks, return_exceptions=True))


async def test_a_turned_video(tmp_path: Path) -> None:
    found = await look(tmp_path, video("mp4", "mpeg4", turned=90))
    assert (found.width, found.height) == (240, 320)


async def test_a_picture_and_a_page_in_one_is_a_picture(tmp_path: Path) -> None:
    found = await look(tmp_path, encoded("GIF") + b"<html><script>alert(1)</script></html>")
    assert found.mime == "image/gif", "it is served as what it is, and never sniffed"


@pytest.mark.parametrize(
    ("format", "codec", "mime"),
    [("mp4", "mpeg4", "video/mp4"), ("mov", "mpeg4", "video/quicktime"), ("webm", "libvpx", "video/webm"),
     # These decoders start threads of their own where there are cores for them.
     ("mp4", "libsvtav1", "video/mp4"), ("webm", "libvpx-vp9", "video/webm"), ("mp4", "libx264", "video/mp4"),
     ("mp4", "libx265", "video/mp4"),
     ("matroska", "mpeg4", "video/x-matroska"), ("avi", "mpeg4", "video/avi")],
)  # fmt: skip
async def test_videos(tmp_path: Path, format: str, codec: str, mime: str) -> None:
    found = await look(tmp_path, video(format, codec, seconds=2))
    assert found == Found("video", mime, 320, 240, found.duration, thumbnail=True)
    assert found.duration == pytest.approx(2, abs=0.1)
    with Image.open(tmp_path / "thumbnail") as small:
        assert small.format == "WEBP" and small.size == (320, 240)


@pytest.mark.parametrize(
    ("format", "codec", "mime"),
    [("ipod", "aac", "audio/mp4"), ("ogg", "libopus", "audio/ogg"), ("webm", "libopus", "audio/webm"),
     ("mp3", "libmp3lame", "audio/mpeg"), ("wav", "pcm_s16le", "audio/wave"), ("flac", "flac", "audio/flac"),
     ("adts", "aac", "audio/aac"), ("caf", "pcm_s16be", "audio/x-caf"), ("mp4", "aac", "audio/mp4")],
)  # fmt: skip
async def test_voice_notes(tmp_path: Path, format: str, codec: str, mime: str) -> None:
    found = await look(tmp_path, voice(format, codec, seconds=3))
    assert found == Found("audio", mime, duration=found.duration)
    assert found.duration == pytest.approx(3, abs=0.15)


async def test_what_a_browser_records_does_not_say_how_long_it_is(tmp_path: Path) -> None:
    found = await look(tmp_path, voice("webm", "libopus", seconds=3, live=True))
    assert found.duration == pytest.approx(3, abs=0.1)


async def test_a_broken_video_is_reported(tmp_path: Path) -> None:
    for data in (video("mp4", "mpeg4")[:5000], b"\0\0\0\x20ftypisom\0\0\x02\0isomiso2avc1mp41" + b"\xff" * 5000):
        with pytest.raises(Invalid):
            await look(tmp_path, data)


async def test_a_playlist_opens_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    found = await look(tmp_path, f"#EXTM3U\n#EXTINF:1,\nfile://{tmp_path / 'secret'}\n".encode())
    assert found.duration is None and not found.thumbnail


async def test_without_ffmpeg_its_figures_are_null(tmp_path: Path) -> None:
    without = tmp_path / "without" / "av"
    without.mkdir(parents=True)
    (without / "__init__.py").write_text("raise ImportError")
    path = str(without.parent)
    assert await look(tmp_path, video("mp4", "mpeg4"), PYTHONPATH=path) == Found("video", "video/mp4")
    assert await look(tmp_path, voice("ogg", "libopus"), PYTHONPATH=path) == Found("audio", "audio/ogg")
    # What browsers record: its type alone does not say whether there are pictures in it.
    recorded = voice("webm", "libopus", seconds=1, live=True)
    assert await look(tmp_path, recorded, PYTHONPATH=path) == Found("audio", "audio/webm")
    assert await look(tmp_path, voice("mp4", "aac"), PYTHONPATH=path) == Found("audio", "audio/mp4")
    assert await look(tmp_path, video("webm", "libvpx"), PYTHONPATH=path) == Found("video", "video/webm")


def with_scans(width: int, height: int, scans: int) -> bytes:
    """A progressive JPEG whose last scan is repeated: small, and each goes over all of its pixels."""
    file = io.BytesIO()
    Image.new("L", (width, height), 60).save(file, "JPEG", progressive=True)
    whole = file.getvalue()
    last = whole[whole.rindex(b"\xff\xda") : -2]
    made = whole[:-2] + last * (scans - scans_of(whole)) + whole[-2:]
    assert scans_of(made) == scans
    return made


async def test_a_square_picture(tmp_path: Path) -> None:
    """The middle of the image, however it lies; what is small is made as large."""
    (tmp_path / "file").write_bytes(encoded("JPEG", (900, 300)))
    found = await Decoder(Limits()).look(tmp_path / "file", tmp_path / "thumbnail", square=True, **OWNER)
    assert (found.width, found.height, found.thumbnail) == (900, 300, True)
    with Image.open(tmp_path / "thumbnail") as square:
        assert (square.format, square.size) == ("WEBP", (256, 256))


@pytest.mark.parametrize("progressive", [False, True])
async def test_what_looks_like_a_scan_elsewhere_is_none(tmp_path: Path, progressive: bool) -> None:
    """A motion photo has a film behind the picture, a phone's a small picture in a segment before it."""
    file, exif = io.BytesIO(), Image.Exif()
    exif[0x010F] = "MAKER"
    comment = b"\xff\xda" * 500
    Image.new("RGB", (640, 480), (9, 99, 9)).save(file, "JPEG", progressive=progressive, exif=exif, comment=comment)
    whole = file.getvalue()
    assert 0 < scans_of(whole) < 20 if progressive else scans_of(whole) == 0
    assert scans_of(whole + comment) == scans_of(whole)
    assert (await look(tmp_path, whole + b"\0\0\0\x18ftypmp42" + comment * 10)).kind == "image"


@pytest.mark.parametrize(("scans", "kind"), [(MOST_SCANS, "image"), (MOST_SCANS + 1, "file")])
async def test_a_picture_of_too_many_scans_is_a_file(tmp_path: Path, scans: int, kind: str) -> None:
    assert (await look(tmp_path, with_scans(640, 480, scans))).kind == kind


async def test_scans_count_by_their_pixels(tmp_path: Path) -> None:
    pixels = 7_000 * 7_000
    scans = MOST_SCANNED_PIXELS // pixels + 1
    assert scans < MOST_SCANS
    assert (await look(tmp_path, with_scans(7_000, 7_000, scans))).kind == "file"


# What is tried instead of decoding. All of it fails: broken; something succeeds: markup, which is told apart.
REACH = """
import io, os, socket
TRIED = [
    socket.socket, lambda: io.open(__file__), lambda: os.open("/", os.O_RDONLY), os.pipe, lambda: os.listdir("/"),
    lambda: __import__("sqlite3").connect(__file__ + ".db"), lambda: os.link(__file__, __file__ + ".link"),
    lambda: os.symlink(__file__, __file__ + ".symlink"), lambda: os.rename(__file__, __file__ + ".renamed"),
    lambda: os.unlink(__file__), lambda: os.mkdir(__file__ + ".folder"), lambda: os.chmod(__file__, 0),
    lambda: os.kill(os.getppid(), 0), os.fork, lambda: os.execv("/bin/true", ["true"]),
    lambda: os.sched_setaffinity(0, {0}), lambda: os.setpriority(os.PRIO_PROCESS, 0, 19),
]
def open(*_, **__):
    failed = 0
    for each in TRIED:
        try:
            each()
        except Exception:
            failed += 1
    raise OSError if failed == len(TRIED) else ValueError("markup")
"""


def instead_of_av(folder: Path, source: str) -> None:
    """A module that is loaded where ffmpeg would be."""
    (folder / "av").mkdir()
    (folder / "av" / "__init__.py").write_text(source)
    (folder / "av" / "stream.py").write_text("class Disposition: pass")
    (folder / "av" / "subtitles").mkdir()
    (folder / "av" / "subtitles" / "stream.py").touch()


# Where the system has no seccomp, names of files can still be changed.
SWAP = """
import os, sys
from realtime import sandbox
sandbox.restrict = lambda: False
def open(*_, **__):
    place = sys.argv[{which}]
    os.unlink(place)
    os.{how}({secret!r}, place)
    os.write(1, b'{{"kind":"video","mime":"video/mp4","width":1,"height":1,"duration":1.0,"thumbnail":true}}\\n')
    sys.stdin.buffer.read()
    os._exit(0)
"""


@pytest.mark.parametrize("which", [1, 2], ids=["the upload", "the thumbnail"])
@pytest.mark.parametrize("how", ["link", "symlink"])
async def test_a_file_that_a_decoder_swaps_is_not_kept(tmp_path: Path, which: int, how: str) -> None:
    secret = tmp_path / "secret"
    secret.write_text("of the server")
    instead_of_av(tmp_path, SWAP.format(which=which, how=how, secret=str(secret)))
    with pytest.raises(Invalid):
        await look(tmp_path, voice(), PYTHONPATH=str(tmp_path))
    assert (tmp_path / ("file", "thumbnail")[which - 1]).read_text() == "of the server", "it was tried"


async def test_a_decoder_that_is_taken_over_reaches_nothing(tmp_path: Path) -> None:
    """No file, no name of one, no connection, no process, whatever it runs once it decodes."""
    instead_of_av(tmp_path, REACH)
    with pytest.raises(Invalid) as broken:
        await look(tmp_path, voice(), PYTHONPATH=str(tmp_path))
    assert "corrupt" in broken.value.details[0].message


async def test_a_decoder_has_a_low_priority(tmp_path: Path) -> None:
    (tmp_path / "puremagic.py").write_text(MAD.format(fault="return f'text/{__import__(\"os\").nice(0)}'"))
    lowered = min(19, os.nice(0) + 10)
    assert (await look(tmp_path, b"words", PYTHONPATH=str(tmp_path))).mime == f"text/{lowered}"


async def test_what_decoding_took_is_charged_to_its_user(tmp_path: Path) -> None:
    decoder = Decoder(Limits(decoder_seconds_per_minute=1e-6, decoder_seconds_at_once=1e-6))
    path = tmp_path / "file"
    path.write_bytes(b"words")
    assert (await decoder.look(path, tmp_path / "thumbnail", user_pk=1, tenant_pk=1)).kind == "file"
    with pytest.raises(TooMany):
        await decoder.look(path, tmp_path / "thumbnail", user_pk=1, tenant_pk=1)
    assert (await decoder.look(path, tmp_path / "thumbnail", user_pk=2, tenant_pk=1)).kind == "file"


async def test_a_decoder_that_was_stopped_is_charged_all_that_it_might_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "puremagic.py").write_text(MAD.format(fault="while True: pass"))
    path = tmp_path / "file"
    path.write_bytes(b"words")
    monkeypatch.setattr(decoding, "DECODE_SECONDS", HANG_SECONDS)
    limits = Limits(decoder_seconds_per_minute=1e-9)
    decoder = Decoder(limits, seconds=1, environment={"PYTHONPATH": str(tmp_path)})
    with pytest.raises(Invalid):
        await decoder.look(path, tmp_path / "thumbnail", **OWNER)
    # The kernel counts in ticks: it may stop a process a little before a second has gone by.
    assert decoder.budget.left[1][0] == pytest.approx(
        limits.decoder_seconds_at_once - 1, abs=2 / os.sysconf("SC_CLK_TCK")
    )


@pytest.mark.parametrize(
    "said", ["{}", "null", "[]", '{"kind": "page", "mime": "text/html"}', '{"kind": "image"}', "x" * 100_000]
)
async def test_a_decoder_that_lies_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    """It may have been taken over, and write anything; or more than is read."""
    (tmp_path / "puremagic.py").write_text(f"import os, sys\nos.write(1, {said!r}.encode())\nos._exit(0)\n")
    path = tmp_path / "file"
    path.write_bytes(b"words")
    monkeypatch.setattr(decoding, "DECODE_SECONDS", 5.0)
    decoder = Decoder(Limits(), environment={"PYTHONPATH": str(tmp_path)})
    with pytest.raises((Invalid, Unavailable)):
        await decoder.look(path, tmp_path / "thumbnail", **OWNER)


async def test_one_file_of_a_user_at_a_time(tmp_path: Path) -> None:
    decoder = Decoder(Limits())
    running: list[int] = []
    most: list[int] = []

    async def run(path: Path, thumbnail: Path, square: bool) -> tuple[int, bytes, float]:
        running.append(1)
        most.append(len(running))
        for _ in range(20):
            await asyncio.sleep(0)
        running.pop()
        return 0, b'{"kind": "file", "mime": "text/plain"}', 0.0

    decoder._run = run  # type: ignore[method-assign]
    look = decoder.look
    await asyncio.gather(*(look(tmp_path / "file", tmp_path / "thumbnail", user_pk=1, tenant_pk=1) for _ in range(5)))
    assert max(most) == 1 and not decoder.own
    await asyncio.gather(
        *(look(tmp_path / "file", tmp_path / "thumbnail", user_pk=number, tenant_pk=1) for number in range(5))
    )
    assert max(most) == decoding.DECODERS_AT_ONCE
