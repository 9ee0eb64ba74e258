"""From results and pictures to the text of report.html."""

import json
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from gateway.export.results import StudyResults
from gateway.study.answers import answers
from gateway.study.gallery import Gallery
from gateway.study.report import words
from gateway.study.report.accuracy_plot import accuracy_plot
from gateway.study.report.class_map import class_map
from gateway.study.report.image_table import HEADS, image_rows, image_words
from gateway.study.report.scaling_plot import scaling_plot
from gateway.study.report.time_plot import time_rows

_PACKAGE = "gateway.study.report"


def render_report(results: StudyResults, gallery: Gallery) -> str:
    """Returns the whole report as one HTML document without any reference to a network."""
    environment = Environment(
        loader=PackageLoader(_PACKAGE, "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        percent=words.percent,
        points=words.points,
        error=words.error,
        interval=words.interval,
        chance=words.chance,
        verdict=words.verdict,
        seconds=words.seconds,
        fine_seconds=words.fine_seconds,
        count=words.count,
        steps_of=words.steps_of,
        plural=words.plural,
        reason=words.reason,
    )
    papers = json.loads(files("gateway.study").joinpath("papers.json").read_text("utf-8"))
    return environment.get_template("report.html.j2").render(
        results=results,
        gallery=gallery,
        headline=words.headline(results),
        lead=words.lead(results),
        facts=words.facts(results),
        answers=answers(results),
        budget=words.budget(results),
        spread=words.spread(results),
        mosaic=_mosaic(gallery),
        accuracy_plot=Markup(accuracy_plot(results)),
        class_map=class_map(results),
        scaling_plot=Markup(scaling_plot(results)),
        time_rows=time_rows(results),
        image_heads=HEADS,
        image_rows=image_rows(results),
        image_words=image_words(results),
        papers=papers,
        lineages=_embedded(_lineages(gallery)),
        css=Markup(_text("style.css")),
        script=Markup(_text("script.js")),
    )


def _text(name: str) -> str:
    return files(_PACKAGE).joinpath("templates", name).read_text("utf-8")


def _mosaic(gallery: Gallery) -> list[tuple[str, str]]:
    """Picture and alternative text of the first child of every class, methods taking turns."""
    columns = [
        [child for children in method.classes.values() for child in children[:1]]
        for method in gallery.methods
    ]
    tiles = []
    for turn in range(max((len(column) for column in columns), default=0)):
        for column in columns:
            child = column[turn % len(column)] if column else None
            if child and child.picture:
                tiles.append((child.picture, child.class_name))
    # Whole rows of six.
    return tiles[: min(30, len(tiles) // 6 * 6 or len(tiles))]


def _lineages(gallery: Gallery) -> dict[str, Any]:
    return {
        f"{at}-{child.item_id}": {
            "title": f"{child.class_name}, {method.label}",
            "prompt": child.prompt,
            "again": list(child.again),
            "original": child.original,
            # Text, since a browser would round the 64-bit seeds of a parsed record.
            "record": json.dumps(child.lineage, indent=2, ensure_ascii=False, default=str),
        }
        for at, method in enumerate(gallery.methods)
        for children in method.classes.values()
        for child in children
    }


def _embedded(document: object) -> Markup:
    """JSON for a script element: "<" is escaped, so no text of a user can end the element."""
    text = json.dumps(document, ensure_ascii=False, default=str)
    return Markup(text.replace("<", "\\u003c").replace("\u2028", " ").replace("\u2029", " "))
