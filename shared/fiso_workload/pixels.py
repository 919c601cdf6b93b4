"""pixels: image arithmetic on raw 8-bit RGB. Standard library and whole numbers only, so bytes are equal everywhere.

The body is either `width * height * 3` raw bytes with `width` and `height` in the query, or a binary PPM (P6, maximum
255). Raw in, raw out; a PPM comes back as PPM, or as PGM (P5) when the result is grey. `op` is one of
    grayscale  one byte a pixel, luma (77 R + 150 G + 29 B) / 256
    blur       grayscale, then the mean over a (2 `radius` + 1) square, edges repeated
    thumbnail  RGB, each side divided by `factor`, the mean of each whole block
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fiso_workload import query as queries
from fiso_workload.answer import Answer, Refusal

MAX_SIDE = 4096
HEADER = re.compile(rb"P6\s+(\d{1,4})\s+(\d{1,4})\s+255\s")
OPERATIONS = ("grayscale", "blur", "thumbnail")


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """Rows of pixels, `channels` bytes each."""

    width: int
    height: int
    channels: int
    data: bytes


def pixels(body: bytes, query: Mapping[str, str]) -> Answer:
    """The image after `op`; the headers `x-image-width`, `-height` and `-channels` give its shape."""
    operation = queries.one_of(query, "op", OPERATIONS)
    is_raw = "width" in query or "height" in query
    image = _raw(body, query) if is_raw else _ppm(body)
    if operation == "thumbnail":
        result = thumbnail(image, factor=queries.whole(query, "factor", default=2, low=1, high=256))
    else:
        result = grayscale(image)
    if operation == "blur":
        result = blur(result, radius=queries.whole(query, "radius", default=1, low=0, high=64))
    return _answer(result, is_raw=is_raw)


def grayscale(image: Image) -> Image:
    """Luma of an RGB image."""
    red, green, blue = (image.data[channel::3] for channel in range(3))
    grey = bytes((77 * r + 150 * g + 29 * b) >> 8 for r, g, b in zip(red, green, blue, strict=True))
    return Image(width=image.width, height=image.height, channels=1, data=grey)


def blur(image: Image, *, radius: int) -> Image:
    """The box mean of a grey image, horizontally then vertically, each rounded down."""
    width, height = image.width, image.height
    rows = [_smooth(image.data[y * width : (y + 1) * width], radius) for y in range(height)]
    columns = [_smooth(column, radius) for column in zip(*rows, strict=True)]
    data = b"".join(bytes(row) for row in zip(*columns, strict=True))
    return Image(width=width, height=height, channels=1, data=data)


def thumbnail(image: Image, *, factor: int) -> Image:
    """The image with each side divided by `factor`; pixels beyond the last whole block are dropped."""
    width, height = image.width // factor, image.height // factor
    if not width or not height:
        raise Refusal("factor is larger than a side of the image", status=422)
    stride, area = image.width * 3, factor * factor
    out = bytearray()
    for block_y in range(height):
        rows = [image.data[y * stride : (y + 1) * stride] for y in range(block_y * factor, (block_y + 1) * factor)]
        sums = [sum(column) for column in zip(*rows, strict=True)]
        for block_x in range(width):
            block = sums[block_x * factor * 3 : (block_x + 1) * factor * 3]
            out += bytes(sum(block[channel::3]) // area for channel in range(3))
    return Image(width=width, height=height, channels=3, data=bytes(out))


def _smooth(line: Sequence[int], radius: int) -> list[int]:
    """The running mean of a line, its ends repeated."""
    padded = [line[0]] * radius + list(line) + [line[-1]] * radius
    window = 2 * radius + 1
    total = sum(padded[:window])
    means = [total // window]
    for leaving, entering in zip(padded, padded[window:], strict=False):
        total += entering - leaving
        means.append(total // window)
    return means


def _raw(body: bytes, query: Mapping[str, str]) -> Image:
    width = queries.whole(query, "width", default=None, low=1, high=MAX_SIDE)
    height = queries.whole(query, "height", default=None, low=1, high=MAX_SIDE)
    return _rgb(body, width, height)


def _ppm(body: bytes) -> Image:
    header = HEADER.match(body)
    if header is None:
        raise Refusal("the body needs width and height in the query, or a binary PPM header (P6, maximum 255)")
    width, height = int(header[1]), int(header[2])
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
        raise Refusal(f"width and height must be between 1 and {MAX_SIDE}")
    return _rgb(body[header.end() :], width, height)


def _rgb(data: bytes, width: int, height: int) -> Image:
    expected = width * height * 3
    if len(data) != expected:
        raise Refusal(f"{width} x {height} RGB needs {expected} bytes, the body has {len(data)}")
    return Image(width=width, height=height, channels=3, data=data)


def _answer(image: Image, *, is_raw: bool) -> Answer:
    kind = b"P5" if image.channels == 1 else b"P6"
    header = b"" if is_raw else b"%s\n%d %d\n255\n" % (kind, image.width, image.height)
    shape = {"width": image.width, "height": image.height, "channels": image.channels}
    return Answer(
        body=header + image.data,
        content_type="application/octet-stream" if is_raw else "image/x-portable-anymap",
        headers={f"x-image-{name}": str(value) for name, value in shape.items()},
    )
