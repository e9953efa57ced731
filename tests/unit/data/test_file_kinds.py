"""What is no image says what it is: every kind of file that people have among their images."""

from __future__ import annotations

import io
import json
import struct
import subprocess
import sys
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin
from support.image_files import chunk, tiff

from asal.data.decoding import Conversion, Unreadable
from asal.data.sources.decode import decode

RNG = np.random.default_rng(4)
COLOURS = RNG.integers(0, 256, (40, 60, 3), np.uint8)
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1\nsize 12345\n"
PAGE = b"<!DOCTYPE html>\n<html lang='en'><head><title>404</title></head><body>Not found</body></html>"


def saved(kind: str, image: Image.Image | None = None, **options: Any) -> bytes:
    with io.BytesIO() as file:
        (image or Image.fromarray(COLOURS)).save(file, kind, **options)
        return file.getvalue()


def zipped() -> bytes:
    with io.BytesIO() as file:
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("a.png", b"x")
        return file.getvalue()


def tarred() -> bytes:
    with io.BytesIO() as file:
        with tarfile.open(fileobj=file, mode="w") as archive:
            archive.addfile(tarfile.TarInfo("a.png"))
        return file.getvalue()


def box(brand: bytes, more: bytes = b"") -> bytes:
    return struct.pack(">I", 20 + len(more)) + b"ftyp" + brand + b"\0\0\2\0" + b"isom" + more + b"\0" * 500


def arrays_file() -> bytes:
    with io.BytesIO() as file:
        np.save(file, COLOURS)
        return file.getvalue()


KINDS: dict[str, tuple[bytes, str]] = {
    "a Git LFS pointer": (LFS, "git lfs pull"),
    "a git-annex pointer": (b"/annex/objects/SHA256E-s31390--f50d7ac4.jpg\n", "git annex get"),
    "MP4": (box(b"isom"), "a video"), "MP4 of a camera": (box(b"mp42"), "a video"),
    "QuickTime": (box(b"qt  "), "a video"),
    "old QuickTime": (b"\0\0\0\x08wide\0\0\x10\0mdat" + bytes(range(200)), "a video"),
    "AVI": (b"RIFF\x24\0\0\0AVI LIST" + bytes(200), "a video"), "WebM": (b"\x1aE\xdf\xa3\x9fB\x86\x81\x01", "a video"),
    "WAV": (b"RIFF\x24\0\0\0WAVEfmt " + bytes(200), "a sound"),
    "a web page": (PAGE, "a web page"), "a web page with a BOM": (b"\xef\xbb\xbf\n\n" + PAGE.upper(), "a web page"),
    "a web page after a comment": (b"<!-- saved -->\n<html>\n</html>", "a web page"),
    "JSON": (json.dumps({"error": "gone", "code": 404}).encode(), "JSON"),
    "a JSON list": (b'[{"id": 1}]', "JSON"),
    "XML": (b'<?xml version="1.0"?><annotation><folder>VOC</folder></annotation>', "XML"),
    "SVG": (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg" width="9"/>', "SVG"),
    "SVG without a declaration": (b"<svg viewBox='0 0 9 9'><path d='M0 0'/></svg>", "SVG"),
    "text": ("Räume: zwölf\n".encode(), "but text"),
    "text in Latin-1": ("Räume: zwölf\n".encode("latin-1"), "but text"),
    "text in UTF-16": ("one;two\n".encode("utf-16"), "but text"), "YOLO labels": (b"0 0.5 0.5 0.2 0.2\n", "but text"),
    "ZIP": (zipped(), "an archive"), "tar": (tarred(), "an archive"), "7z": (b"7z\xbc\xaf\x27\x1c\0\4", "an archive"),
    "gzip": (b"\x1f\x8b\x08\0" + bytes(20), "an archive"), "RAR": (b"Rar!\x1a\x07\x01\0", "an archive"),
    "PDF": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "a PDF"), "PDF after junk": (b"\n\n\x07junk%PDF-1.4\n", "a PDF"),
    "DICOM": (bytes(128) + b"DICM\2\0\0\0", "a DICOM"), "NumPy": (arrays_file(), "scientific data"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(20), "scientific data"), "FITS": (b"SIMPLE  =      T", "scientific data"),
    "Photoshop": (b"8BPS\0\1" + bytes(30), "a Photoshop document"), "JPEG XL": (b"\xff\x0a\xfa\x7f", "JPEG XL"),
    "OpenEXR": (b"\x76\x2f\x31\x01\2\0\0\0", "OpenEXR"),
    "Thumbs.db": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "Thumbs.db"),
    "CR2": (b"II*\0\x10\0\0\0CR\2\0" + bytes(40), "a RAW camera"), "CR3": (box(b"crx "), "a RAW camera"),
    "RAF": (b"FUJIFILMCCD-RAW 0201", "a RAW camera"), "RW2": (b"IIU\0\x18\0\0\0" + bytes(30), "a RAW camera"),
    "ORF": (b"IIRO\x08\0\0\0" + bytes(30), "a RAW camera"),
    "DNG": (tiff(COLOURS, more={50706: (0x01040000,)}), "a RAW camera"),
    "NEF with a thumbnail": (tiff(COLOURS, more={254: (1,), 330: (8,)}), "a RAW camera"),
    "nothing": (b"", "it is empty"), "zeros": (bytes(5000), "only zero bytes"),
    "a broken HEIC": (box(b"heic"), "HEIC"),
    "noise": (b"\x93" + bytes(RNG.integers(128, 256, 3000, np.uint8)), "known format"),
}  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_each_kind_has_its_own_reason(name: str, tmp_path: Path) -> None:
    raw, reason = KINDS[name]
    (tmp_path / "image.jpg").write_bytes(raw)
    for given in (raw, tmp_path / "image.jpg"):
        with pytest.raises(Unreadable, match=reason) as caught:
            decode(given, size=8, gray=False)
        assert len(caught.value.reason) <= 200 and "\n" not in caught.value.reason


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "WEBP"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_truncated_image_is_called_so(kind: str, share: float, tmp_path: Path) -> None:
    raw = saved(kind, **({"lossless": True} if kind == "WEBP" else {}))
    (tmp_path / "cut").write_bytes(raw[: int(share * len(raw))])
    with pytest.raises(Unreadable, match="truncated, the end of the file is missing"):
        decode(tmp_path / "cut", size=8, gray=False)


def test_a_sound_image_under_any_name_is_read(tmp_path: Path) -> None:
    for kind in ("PNG", "JPEG", "WEBP"):
        (tmp_path / "page.html").write_bytes(saved(kind))
        assert decode(tmp_path / "page.html", size=8, gray=False).shape == (8, 8, 3)


# HEIC


def test_heic_is_read_upright_and_with_transparency() -> None:
    heif = pytest.importorskip("pillow_heif", reason="the extra `heic` is not installed")
    smooth = Image.fromarray(COLOURS).resize((64, 48), Image.Resampling.BICUBIC, box=(0, 0, 6, 4))
    exif = Image.Exif()
    exif[0x0112] = 6
    for turned in (False, True):
        with io.BytesIO() as file:
            heif.from_pillow(smooth).save(file, quality=95, **({"exif": exif.tobytes()} if turned else {}))
            raw = file.getvalue()
        assert raw[4:12] == b"ftypheic"
        wanted = np.asarray(smooth).astype(int)
        wanted = np.rot90(wanted, -1) if turned else wanted
        image = decode(raw, size=None, gray=False)
        assert image.shape == wanted.shape and np.abs(image - wanted).mean() < 6
    clear = Image.new("RGBA", (64, 64), (10, 10, 10, 0))
    clear.paste((10, 10, 10, 255), (0, 0, 32, 64))
    with io.BytesIO() as file:
        heif.from_pillow(clear).save(file, quality=95)
        image = decode(file.getvalue(), size=None, gray=True, how=Conversion(background="#808080"))
    assert abs(int(image[32, 10, 0]) - 10) < 5 and abs(int(image[32, 60, 0]) - 128) < 5


def test_heic_without_the_extra_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "photo.heic").write_bytes(box(b"heic", b"mif1heic"))
    lines = [
        "import sys; sys.modules['pillow_heif'] = None",
        "import importlib.util; importlib.util.find_spec = lambda name: None",
        "from pathlib import Path; from asal.data.sources.decode import decode",
        f"decode(Path({str(tmp_path / 'photo.heic')!r}), size=8, gray=False)",
    ]
    said = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=False)
    assert "pip install 'asal[heic]'" in said.stderr.splitlines()[-1]


# Large ancillary parts of a PNG


def test_large_profiles_and_texts_do_no_harm(tmp_path: Path) -> None:
    texts = PngImagePlugin.PngInfo()
    texts.add_text("meta", "x" * 1_300_000, zip=True)
    texts.add_itxt("more", "y" * 3_000_000, zip=True)
    texts.add_text("plain", "z" * 2_000_000)
    random = RNG.integers(0, 256, 1_500_000, np.uint8).tobytes()
    for options in ({"icc_profile": bytes(1_200_000)}, {"pnginfo": texts}, {"icc_profile": random, "pnginfo": texts}):
        raw = saved("PNG", **options)
        (tmp_path / "image.png").write_bytes(raw)
        for given in (raw, tmp_path / "image.png"):
            assert np.array_equal(decode(given, size=None, gray=False), COLOURS)


def test_a_text_behind_the_pixels_does_no_harm() -> None:
    raw = saved("PNG")
    bulky = chunk(b"zTXt", b"meta\0\0" + zlib.compress(bytes(5_000_000)))
    assert np.array_equal(decode(raw[:-12] + bulky + raw[-12:], size=None, gray=False), COLOURS)


def test_a_bomb_in_a_text_is_not_inflated() -> None:
    bomb = zlib.compress(bytes(150_000_000), 1)
    raw = saved("PNG")
    for kind, head in ((b"iCCP", b"p\0\0"), (b"zTXt", b"Raw profile type exif\0\0"),
                       (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0")):  # fmt: skip
        image = raw[:33] + chunk(kind, head + bomb) + raw[33:]
        code = (
            "import resource, sys; from asal.data.sources.decode import decode; raw = sys.stdin.buffer.read(); "
            "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss; decode(raw, size=8, gray=False); "
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
        )
        said = subprocess.run([sys.executable, "-c", code], input=image, capture_output=True, check=True)
        assert int(said.stdout) < 60_000, "kB: what Pillow itself takes, and not the 150 MB"


def test_the_orientation_in_a_text_is_kept_beside_a_large_profile() -> None:
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    xmp += b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
    text = chunk(
        b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(xmp + bytes(RNG.integers(97, 122, 3000, np.uint8)))
    )
    raw = saved("PNG", icc_profile=bytes(1_200_000))
    turned = raw[:33] + text + raw[33:]
    assert np.array_equal(decode(turned, size=None, gray=False), np.rot90(COLOURS, -1))
