"""Image formats by content: those that are read, and those that are refused by their name."""

try:
    import pillow_heif
except ImportError:  # An extra: its wheel holds the x265 encoder, which is under the GPL.
    HEIC_IS_READ = False
else:
    pillow_heif.register_heif_opener(thumbnails=False)
    HEIC_IS_READ = True

# Pillow's name of each format that is read, and the suffix of its files. MPO is the JPEG of
# cameras that add a preview or a depth map.
SUFFIXES = {
    "JPEG": "jpg",
    "MPO": "jpg",
    "PNG": "png",
    "WEBP": "webp",
    "GIF": "gif",
    "BMP": "bmp",
    "TIFF": "tiff",
    "PPM": "ppm",
    "AVIF": "avif",
    **({"HEIF": "heic"} if HEIC_IS_READ else {}),
}
READ = tuple(name for name in SUFFIXES if name != "MPO")

_READ_MAGIC = (
    b"\xff\xd8\xff",
    b"\x89PNG",
    b"GIF8",
    b"BM",
    b"II*\x00",
    b"MM\x00*",
    b"II+\x00",
    b"MM\x00+",
)
# Formats that are not read, by how their files begin.
_NAMED = (
    (b"\x00\x00\x00\x0cJXL ", "JPEG XL"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\x00\x00\x00\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"II\xbc", "JPEG XR"),
    (b"8BPS", "PSD (Photoshop)"),
    (b"gimp xcf", "XCF (GIMP)"),
    (b"\x00\x00\x01\x00", "ICO (icon)"),
    (b"\x00\x00\x02\x00", "CUR (cursor)"),
    (b"icns", "ICNS (icon)"),
    (b"DDS ", "DDS"),
    (b"qoif", "QOI"),
    (b"\x76\x2f\x31\x01", "OpenEXR"),
    (b"#?RADIANCE", "Radiance HDR"),
    (b"SIMPLE  =", "FITS"),
    (b"\x93NUMPY", "NumPy array"),
    (b"%!PS", "EPS (PostScript)"),
    (b"IIU\x00", "RW2 (camera raw)"),
    (b"IIRO", "ORF (camera raw)"),
    (b"IIRS", "ORF (camera raw)"),
    (b"FUJIFILMCCD-RAW", "RAF (camera raw)"),
    (b"<svg", "SVG"),
)
# The same for files of the ISO container, by their brand.
_BRANDS = {
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"), "HEIC"),
    **dict.fromkeys((b"mif1", b"msf1"), "HEIF"),
    **dict.fromkeys((b"avif", b"avis"), "AVIF"),
    b"crx ": "CR3 (camera raw)",
    **dict.fromkeys((b"isom", b"mp41", b"mp42", b"qt  ", b"M4V "), "MP4 (video)"),
}


def name_of(data: bytes) -> str:
    """Returns the name of a format that is not read, or "" for one that is or that is unknown."""
    if data[4:8] == b"ftyp":
        return _container(data)
    if data[:4] in (b"II*\x00", b"MM\x00*") and data[8:10] == b"CR":
        return "CR2 (camera raw)"
    if data[128:132] == b"DICM":
        return "DICOM"
    if data.lstrip()[:5] == b"<?xml" and b"<svg" in data[:4096]:
        return "SVG"
    return next((name for magic, name in _NAMED if data.startswith(magic)), "")


def is_known(data: bytes) -> bool:
    """Says whether the content begins like a file of a format that is read."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return True
    return data.startswith(_READ_MAGIC) or (data[4:8] == b"ftyp" and not name_of(data))


def _container(data: bytes) -> str:
    brands = data[8 : min(int.from_bytes(data[:4], "big"), 256)]
    found = [_BRANDS.get(brands[at : at + 4], "") for at in range(0, len(brands), 4) if at != 4]
    if "AVIF" in found:
        return ""
    named = next((name for name in found if name), "")
    return "" if HEIC_IS_READ and named in ("HEIC", "HEIF") else named
