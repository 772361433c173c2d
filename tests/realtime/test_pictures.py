"""Pictures as phones and programs make them: many megapixels, wide colours, lying on their side."""

import io
from pathlib import Path

import pytest
from PIL import Image, ImageCms

from realtime.inspection import Found
from tests.realtime.test_decoding import look

EXIF_ORIENTATION = 0x0112


def jpeg(width: int, height: int, orientation: int = 1, **options: object) -> bytes:
    """Of one colour, so that many pixels take few bytes."""
    file, exif = io.BytesIO(), Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    Image.new("RGB", (width, height), (200, 60, 20)).save(file, "JPEG", exif=exif, **options)
    return file.getvalue()


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize(("width", "height"), [(8160, 6144), (12000, 9000)])
async def test_photos_of_many_megapixels(tmp_path: Path, width: int, height: int, progressive: bool) -> None:
    found = await look(tmp_path, jpeg(width, height, progressive=progressive))
    assert found == Found("image", "image/jpeg", width, height, thumbnail=True)
    with Image.open(tmp_path / "thumbnail") as small:
        assert max(small.size) == 320


async def test_a_photo_of_two_hundred_megapixels(tmp_path: Path) -> None:
    found = await look(tmp_path, jpeg(16320, 12240, 6))
    assert found == Found("image", "image/jpeg", 12240, 16320, thumbnail=True)


async def test_a_photo_that_is_cut_off_is_broken_whatever_its_size(tmp_path: Path) -> None:
    from storage.errors import Invalid

    with pytest.raises(Invalid) as refused:
        await look(tmp_path, jpeg(8160, 6144)[:-2000])
    assert "is corrupt" in refused.value.details[0].message


async def test_what_has_more_pixels_than_are_decoded_is_a_file(tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.new("L", (8000, 7000)).save(file, "PNG")
    assert await look(tmp_path, file.getvalue()) == Found("file", "image/png")


@pytest.mark.parametrize("orientation", range(1, 9))
async def test_every_orientation(tmp_path: Path, orientation: int) -> None:
    found = await look(tmp_path, jpeg(1200, 900, orientation))
    sideways = orientation >= 5
    assert (found.width, found.height) == ((900, 1200) if sideways else (1200, 900))
    with Image.open(tmp_path / "thumbnail") as small:
        assert small.size == ((240, 320) if sideways else (320, 240))


def swapped() -> bytes:
    """A profile in which what is written as red is shown as green: a matrix profile with its columns turned."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = int.from_bytes(profile[128:132], "big")
    tags = {bytes(profile[place : place + 4]): place for place in range(132, 132 + 12 * count, 12)}
    red, green = (bytes(profile[tags[name] + 4 : tags[name] + 12]) for name in (b"rXYZ", b"gXYZ"))
    profile[tags[b"rXYZ"] + 4 : tags[b"rXYZ"] + 12] = green
    profile[tags[b"gXYZ"] + 4 : tags[b"gXYZ"] + 12] = red
    return bytes(profile)


@pytest.mark.parametrize(
    ("format", "mode"), [("JPEG", "RGB"), ("PNG", "RGB"), ("PNG", "RGBA"), ("WEBP", "RGB"), ("PNG", "P")]
)
async def test_a_thumbnail_has_the_colours_of_its_profile(tmp_path: Path, format: str, mode: str) -> None:
    file = io.BytesIO()
    image = Image.new("RGB", (64, 64), (255, 0, 0)).convert(mode)
    image.save(file, format, icc_profile=swapped())
    await look(tmp_path, file.getvalue())
    with Image.open(tmp_path / "thumbnail") as small:
        red, green, blue, *_ = small.convert("RGB").getpixel((10, 10))  # type: ignore[misc]
        assert green > 200 > 60 > max(red, blue)
        assert "icc_profile" not in small.info


@pytest.mark.parametrize("profile", [b"", b"no profile", swapped()[:200]])
async def test_a_profile_that_can_not_be_read_harms_nothing(tmp_path: Path, profile: bytes) -> None:
    found = await look(tmp_path, jpeg(64, 64, icc_profile=profile))
    assert found.thumbnail


async def test_other_modes(tmp_path: Path) -> None:
    for mode, format in (("CMYK", "JPEG"), ("L", "JPEG"), ("LA", "PNG"), ("1", "PNG"), ("I;16", "PNG"), ("P", "GIF")):
        file = io.BytesIO()
        Image.new(mode, (64, 64)).save(file, format)
        assert (await look(tmp_path, file.getvalue())).thumbnail, mode
