"""pixels: arithmetic worked by hand, and shapes that do not fit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiso_workload.answer import Refusal
from fiso_workload.pixels import Image, blur, pixels

RED_GREEN = bytes([255, 0, 0, 0, 255, 0])


def test_grey_is_the_luma() -> None:
    # 77 * 255 / 256 = 76.7 and 150 * 255 / 256 = 149.4
    found = pixels(RED_GREEN, {"width": "2", "height": "1"})
    assert list(found.body) == [76, 149]
    assert found.content_type == "application/octet-stream"
    assert dict(found.headers) == {"x-image-width": "2", "x-image-height": "1", "x-image-channels": "1"}


def test_blur_is_the_mean_of_a_square_with_repeated_edges() -> None:
    image = Image(width=3, height=1, channels=1, data=bytes([0, 90, 30]))
    # (0+0+90)/3, (0+90+30)/3, (90+30+30)/3; the rows above and below repeat the only one
    assert list(blur(image, radius=1).data) == [30, 40, 50]


@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 9), st.data())
def test_blur_keeps_the_shape_and_stays_between_the_extremes(
    width: int, height: int, radius: int, data: st.DataObject
) -> None:
    grey = data.draw(st.binary(min_size=width * height, max_size=width * height))
    found = blur(Image(width=width, height=height, channels=1, data=grey), radius=radius)
    assert len(found.data) == len(grey)
    assert min(grey) <= min(found.data)
    assert max(found.data) <= max(grey)


def test_a_thumbnail_pixel_is_the_mean_of_its_block() -> None:
    body = bytes([0, 0, 0, 4, 8, 12] * 2 + [9, 9, 9] * 0)
    found = pixels(body, {"width": "2", "height": "2", "op": "thumbnail", "factor": "2"})
    assert list(found.body) == [2, 4, 6]


def test_a_ppm_comes_back_with_a_header() -> None:
    ppm = b"P6\n2 1\n255\n" + RED_GREEN
    assert pixels(ppm, {}).body == b"P5\n2 1\n255\n" + bytes([76, 149])
    assert pixels(ppm, {"op": "thumbnail", "factor": "1"}).body == ppm


@pytest.mark.parametrize(
    ("body", "query"),
    [
        (b"", {}),
        (b"P6\n2 1\n65535\n" + RED_GREEN * 2, {}),
        (b"P6\n9999 9999\n255\n", {}),
        (RED_GREEN, {"width": "2"}),
        (RED_GREEN, {"width": "2", "height": "2"}),
        (RED_GREEN, {"width": "2", "height": "1", "op": "sharpen"}),
        (RED_GREEN, {"width": "2", "height": "1", "op": "blur", "radius": "65"}),
        (RED_GREEN, {"width": "2", "height": "1", "op": "thumbnail", "factor": "2"}),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_images_that_do_not_fit_are_refused(body: bytes, query: dict[str, str]) -> None:
    with pytest.raises(Refusal) as caught:
        pixels(body, query)
    assert caught.value.status in (400, 422)
