#!/usr/bin/env python3
"""Writes pictures/ and pictures.txt: small pictures of every kind, and what Pillow makes of them.

Needs Pillow before 13 (which changed the order of the passes for tall pictures) and numpy.
"""
import hashlib
import pathlib
import struct
import zlib

import numpy
import PIL
from PIL import Image

HERE = pathlib.Path(__file__).resolve().parent
SIZES = (8, 32, 100)


def scene(width, height):
    """Smooth colours with edges and some noise, so that every step leaves its trace."""
    y, x = numpy.mgrid[0:height, 0:width].astype(float)
    rng = numpy.random.default_rng(width * 1000 + height)
    red = 127 + 120 * numpy.sin(x / 7 + y / 23)
    green = 255 * ((x // 9 + y // 5) % 2)
    blue = 255 * (x + y) / (width + height)
    pixels = numpy.stack([red, green, blue], axis=2) + rng.normal(0, 4, (height, width, 3))
    return Image.fromarray(pixels.clip(0, 255).astype(numpy.uint8))


def preprocess(image, size):
    image = image.convert("RGB")
    width, height = image.size
    short = int(size / 0.875)
    if width <= height:
        scaled = (short, int(short * height / width))
    else:
        scaled = (int(short * width / height), short)
    if scaled != image.size:
        image = image.resize(scaled, Image.BILINEAR)
    left = int(round((scaled[0] - size) / 2.0))
    top = int(round((scaled[1] - size) / 2.0))
    return image.crop((left, top, left + size, top + size))


def write_png16(path, channels, colour_type):
    """16 bits a sample: Pillow writes only one kind of it."""
    width, height = 37, 23
    samples = numpy.random.default_rng(channels).integers(0, 65536, (height, width * channels)).astype(">u2")
    samples[:, ::2] &= numpy.array(0x1FF, ">u2")

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    rows = b"".join(b"\0" + row.tobytes() for row in samples)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 9)) +
                     chunk(b"IEND", b""))


def write_pictures(folder):
    def jpeg(name, image, **options):
        image.save(folder / f"{name}.jpg", quality=85, **options)

    def png(name, image, **options):
        image.save(folder / f"{name}.png", **options)

    jpeg("yuv444", scene(61, 47), subsampling=0)
    jpeg("yuv422", scene(75, 50), subsampling=1)
    jpeg("yuv420_wide", scene(97, 41), subsampling=2)
    jpeg("yuv420_tall", scene(33, 120), subsampling=2)
    jpeg("yuv420_large", scene(520, 400), subsampling=2)
    jpeg("one_pixel", scene(1, 1))
    jpeg("one_row", scene(90, 1))
    jpeg("progressive", scene(70, 90), progressive=True)
    jpeg("grey", scene(64, 48).convert("L"))
    jpeg("cmyk", scene(50, 40).convert("CMYK"))
    turned = Image.Exif()
    turned[0x0112] = 6
    jpeg("exif_turned", scene(60, 40), exif=turned)
    png("rgb", scene(40, 31))
    alpha = scene(40, 31).convert("RGBA")
    alpha.putalpha(scene(40, 31).convert("L"))
    png("rgba", alpha)
    png("grey_alpha", alpha.convert("LA"))
    png("bilevel", scene(40, 31).convert("1"))
    png("palette16", scene(40, 31).quantize(16))
    png("palette_transparent", scene(40, 31).quantize(200), transparency=3)
    png("grey_transparent", scene(40, 31).convert("L"), transparency=127)
    write_png16(folder / "grey16.png", 1, 0)
    write_png16(folder / "rgb16.png", 3, 2)
    write_png16(folder / "grey_alpha16.png", 2, 4)


def main():
    folder = HERE / "pictures"
    folder.mkdir(exist_ok=True)
    write_pictures(folder)
    lines = [f"# SHA-256 of [SIZE, SIZE, 3], SIZE, file. Pillow {PIL.__version__}."]
    for path in sorted(folder.iterdir()):
        for size in SIZES:
            pixels = preprocess(Image.open(path), size)
            lines.append(f"{hashlib.sha256(pixels.tobytes()).hexdigest()} {size} {path.name}")
    (HERE / "pictures.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
