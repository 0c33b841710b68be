#!/usr/bin/env python3
"""decode_pillow.py FOLDER SIZE: one timed pass of Pillow over all pictures below FOLDER, on one core, from memory.

Prints: seconds of processor time, number of pictures, SHA-256 over all pixels, Pillow's version. `squant-bench decode` runs it beside its
own passes. What is timed is what torchvision does: Resize(int(SIZE / 0.875)), CenterCrop(SIZE).
"""
import hashlib
import io
import pathlib
import sys
import time

import PIL
from PIL import Image


def preprocess(data, size):
    image = Image.open(io.BytesIO(data)).convert("RGB")
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


def main():
    folder, size = pathlib.Path(sys.argv[1]), int(sys.argv[2])
    paths = (path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    files = [path.read_bytes() for path in sorted(paths, key=lambda path: path.relative_to(folder).as_posix())]
    digest = hashlib.sha256()
    for data in files:
        digest.update(preprocess(data, size).tobytes())
    begin = time.process_time()
    for data in files:
        preprocess(data, size)
    print(time.process_time() - begin, len(files), digest.hexdigest(), PIL.__version__)


if __name__ == "__main__":
    main()
