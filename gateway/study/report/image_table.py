"""Diversity and fidelity of each row's images, as the table of report and STUDY.md has them."""

from gateway.export.results import ImageFigures, ResultRow, StudyResults
from gateway.study.report.words import count

HEADS = (
    "Row",
    "Images",
    "Frechet",
    "Kernel x 1000",
    "Precision %",
    "Recall %",
    "CLIP score",
    "Nearest parent",
)


def image_rows(results: StudyResults) -> list[tuple[str, ...]]:
    """Returns the cells of each row that has figures; rows that share all images have one line."""
    lines: dict[tuple[str, ...], list[str]] = {}
    for row in results.rows:
        if row.images is not None:
            lines.setdefault(_cells(row.images), []).append(_named(row))
    return [(", ".join(dict.fromkeys(names)), *cells) for cells, names in lines.items()]


def image_words(results: StudyResults) -> str:
    """Says what the figures are of; "" without any."""
    found = [row.images for row in results.rows if row.images is not None]
    if not found:
        return ""
    return (
        f"Of vectors of the retriever's CLIP image encoder ({found[0].encoder}), not of Inception: "
        "compare rows with each other, not with figures of papers. Reference: "
        f"{count(found[0].real_count)} real training images in the proportions of their classes, "
        "never test images. At most 5,000 images of a row are looked at; figures are means over "
        "the seeds. Frechet: squared distance of the Gaussians of unit vectors, lower is nearer; "
        "n/a with no more images than the vectors have dimensions, on either side. Kernel: the "
        "unbiased distance with the kernel (1 + cosine)^3, x 1000, \u00b1 its standard error by "
        "jackknife; it stands for small samples, too. Precision: share of the images that lie "
        "within the real ones (3 neighbours), fidelity; recall: share of real ones that lie within "
        "the images, diversity. Nearest parent: cosine distance to the nearest of an image's "
        "parents, near 0 for a copy."
    )


def _named(row: ResultRow) -> str:
    if row.is_reference:
        return row.method
    extras = [f"{name}={value}" for name, value in sorted(row.parameters.items())]
    extras += row.making
    return f"{row.method} ({', '.join(extras)})" if extras else row.method


def _cells(one: ImageFigures) -> tuple[str, ...]:
    kernel = "n/a"
    if one.kernel_distance is not None and one.kernel_distance_error is not None:
        kernel = f"{1000 * one.kernel_distance:.1f} \u00b1 {1000 * one.kernel_distance_error:.1f}"
    return (
        count(one.image_count),
        _number(one.frechet_distance, 3),
        kernel,
        _number(one.precision, 1, 100),
        _number(one.recall, 1, 100),
        _number(one.clip_score, 3),
        _number(one.parent_distance, 3),
    )


def _number(value: float | None, digits: int, scale: int = 1) -> str:
    return "n/a" if value is None else f"{scale * value:.{digits}f}"
