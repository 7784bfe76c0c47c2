"""Encoded images are decoded exactly; errors name any that is not a 32x32 RGB image."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile, features

from norsim.caches.arrays import IMAGES
from norsim.data import decoding
from norsim.data.decoding import EncodedImage, decode_rgb
from norsim.errors import DataError

PIXELS = np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8)


def encoded(kind: str = "PNG", mode: str = "RGB", width: int = 32, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.resize(PIXELS, (32, width, 3))).convert(mode).save(buffer, kind, **options)
    return buffer.getvalue()


def huge_png() -> bytes:
    """The start of a PNG whose header announces 40000x40000 pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 40000, 40000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return b"\x89PNG\r\n\x1a\n" + chunk + b"\x00\x00\x00\x04IDAT"


def test_png_is_exact_and_its_channels_come_first() -> None:
    images, formats = decode_rgb([EncodedImage("a", encoded()), EncodedImage("b", encoded(mode="L"))], 32)
    assert images.shape == (2, 3, 32, 32)
    assert images.dtype == np.uint8
    assert images.flags.c_contiguous
    assert np.array_equal(images[0], PIXELS.transpose(2, 0, 1))
    assert formats == {"PNG"}


def test_every_format_is_reported() -> None:
    items = [EncodedImage("a", encoded()), EncodedImage("b", encoded("JPEG"))]
    images, formats = decode_rgb(items, 32)
    assert formats == {"PNG", "JPEG"}
    expected = np.asarray(Image.open(io.BytesIO(items[1].content)))
    assert np.array_equal(images[1], expected.transpose(2, 0, 1))


@pytest.mark.parametrize("mode", ["L", "P", "1"])
def test_grey_and_palette_images_are_exact(mode: str) -> None:
    content = encoded(mode=mode)
    expected = np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).transpose(2, 0, 1)
    assert np.array_equal(decode_rgb([EncodedImage("a", content)], 32).images[0], expected)


def test_no_image_at_all() -> None:
    images, formats = decode_rgb([], 32)
    assert images.shape == (0, 3, 32, 32)
    assert formats == frozenset()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"not an image", r"this is not a readable image \(UnidentifiedImageError\), expected a whole PNG"),
        (b"", "this is not a readable image"),
        (encoded("GIF", "L"), "this is not a readable image"),
        (encoded()[:1500], "this is not a readable image"),
        (encoded("JPEG")[:800], "this is not a readable image"),
        (huge_png(), r"this is not a readable image \(DecompressionBombError\)"),
        (encoded(width=40), "the image has 40x32 pixels, expected 32x32"),
        (encoded(mode="RGBA"), "the image has mode RGBA, expected 8-bit RGB"),
        (encoded("JPEG", "CMYK"), "the image has mode CMYK, expected 8-bit RGB"),
        (encoded(mode="P", transparency=0), "the image has mode P with transparency, expected 8-bit RGB"),
        (encoded(transparency=(0, 0, 0)), "the image has mode RGB with transparency"),
    ],
)
def test_image_at_fault_is_named(content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=f"row 1: {message}"):
        decode_rgb([EncodedImage("row 0", encoded()), EncodedImage("row 1", content)], 32)


def test_decoded_images_are_kept_by_their_content(own_arrays: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Damaged, renamed and changed: only what is read from disk saves the decoding."""
    decodings: list[int] = []
    usual = decoding._decoded

    def counted(encoded: Any, form: Any) -> Any:
        decodings.append(len(encoded))
        return usual(encoded, form)

    monkeypatch.setattr(decoding, "_decoded", counted)
    monkeypatch.setattr(decoding, "LEAST_KEPT", 3)
    items = [EncodedImage("a", encoded()), EncodedImage("b", encoded("JPEG")), EncodedImage("c", encoded(mode="L"))]
    first = decode_rgb(items, 32)
    again = decode_rgb([item._replace(where="elsewhere") for item in items], 32)
    assert decodings == [3] and np.array_equal(first.images, again.images) and first.formats == again.formats
    assert again.images.dtype == np.uint8 and again.images.flags.c_contiguous
    decode_rgb(items[::-1], 32)
    decode_rgb(items[:2], 32)
    assert decodings == [3, 3, 2]
    assert len(IMAGES.files()) == 2
    for path in IMAGES.files():
        path.write_bytes(path.read_bytes()[:-50])
    assert np.array_equal(decode_rgb(items, 32).images, first.images) and decodings == [3, 3, 2, 3]
    with pytest.raises(DataError, match="b: this is not a readable image"):
        decode_rgb([items[0], EncodedImage("b", b"text"), items[2]], 32)


def test_images_that_were_decoded_otherwise_are_not_taken_for_these(
    own_arrays: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "LEAST_KEPT", 2)
    cut = [EncodedImage("a", encoded("JPEG")[:-300])] * 2
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    assert len(decode_rgb(cut, 32).images) == 2
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", False)
    with pytest.raises(DataError, match="a: this is not a readable image"):
        decode_rgb(cut, 32)
    assert features.version("jpg") in decoding.MADE_BY
