"""The report: complete, self-contained, and with the numbers of results.json."""

import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pyarrow.parquet as pq
import pytest

from gateway.export.results import ClassGain, StudyResults
from gateway.study import Gallery, build_gallery, build_results, render_report
from gateway.study.gallery import MethodGallery
from gateway.study.report import words
from gateway.study.report.accuracy_plot import accuracy_plot
from gateway.study.report.class_map import class_map
from servicekit.storage import MemoryStore

SECTIONS = ["accuracy", "classes", "gallery", "rejected", "time", "papers", "recipe"]


class Page(HTMLParser):
    """What the tests need of a page: elements with attributes, and text by element."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.text, self._open = [], {}, []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag in ("script", "h1", "style"):
            self._open = [dict(attrs).get("id", tag)]

    def handle_endtag(self, tag):
        if tag in ("script", "h1", "style"):
            self._open = []

    def handle_data(self, data):
        for name in self._open:
            self.text[name] = self.text.get(name, "") + data


@pytest.fixture(scope="module")
def results(sample):
    return build_results(sample.spec, sample.records, sample.augmentations)


@pytest.fixture(scope="module")
def gallery(sample):
    return build_gallery(
        sample.store, sample.dataset_uris, sample.augmentations, images_per_class=100
    )


@pytest.fixture(scope="module")
def html(results, gallery):
    return render_report(results, gallery)


@pytest.fixture(scope="module")
def page(html):
    return Page(html)


def test_the_gallery_does_not_depend_on_how_manifests_are_cut_into_row_groups(sample, gallery):
    store = MemoryStore()
    for key in sample.store.list(""):
        data = sample.store.get(key)
        if key.endswith(".parquet"):
            buffer = io.BytesIO()
            pq.write_table(pq.read_table(io.BytesIO(data)), buffer, row_group_size=3)
            data = buffer.getvalue()
        store.put(key, data)
    cut = build_gallery(store, sample.dataset_uris, sample.augmentations, images_per_class=100)
    assert cut == gallery
    for method in gallery.methods:
        for children in method.classes.values():
            assert len(children) == 3
            assert [child.item_id for child in children] == sorted(c.item_id for c in children)


def test_the_report_refers_to_no_network(html, page):
    assert not re.findall(r"(?i)\b(?:https?|ftp|wss?):", html)
    assert not re.findall(r"url\(|@import", html)
    for _, attributes in page.elements:
        for name in ("src", "href"):
            value = attributes.get(name)
            assert value is None or value == "" or value.startswith(("data:", "#"))


def test_originals_are_linked_where_the_store_has_links(sample, results, monkeypatch):
    monkeypatch.setattr(
        type(sample.store),
        "link",
        lambda self, key, seconds: f"https://s3.test/{key}?for={seconds}",
    )
    linked = build_gallery(
        sample.store, sample.dataset_uris, sample.augmentations, images_per_class=100
    )
    entries = json.loads(Page(render_report(results, linked)).text["lineages"])
    assert entries
    for entry in entries.values():
        key = json.loads(entry["record"])["image_uri"].removeprefix("store:")
        assert entry["original"] == f"https://s3.test/{key}?for=604800"


def test_the_report_is_small_enough_to_send(html):
    assert len(html.encode()) < 5_000_000


def test_all_sections_are_there_with_headings(page):
    ids = {attributes.get("id") for _, attributes in page.elements}
    assert set(SECTIONS) <= ids
    headings = [tag for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert headings.count("h1") == 1
    assert headings.count("h2") >= len(SECTIONS)


def test_the_numbers_are_those_of_results_json(results, html):
    assert "same numbers are in <code>results.json</code>" in html
    for row in StudyResults.from_json(results.to_json()).rows:
        cells = re.search(rf'data-row="{re.escape(row.label)}">(.*?)</tr>', html, re.S).group(1)
        assert f"data-mean>{words.percent(row.mean_accuracy)} " in cells
        assert f"± {words.error(row.standard_error)}<" in cells
        if row.method != "baseline":
            assert f"data-gain>{words.points(row.gain)} " in cells


def test_the_plot_has_a_dot_for_every_seed_and_another_mark_for_the_oracle(results, html, page):
    assert html.count('<circle class="seed"') == len(results.rows) * len(results.seeds)
    assert html.count('class="band is-oracle"') == 1
    lines = [at for tag, at in page.elements if at.get("class") == "baseline"]
    assert len(lines) == len(results.rows)
    assert len({line["x1"] for line in lines}) == 1, "one line in pieces"


def test_every_class_of_every_row_is_in_the_map(results, html):
    cells = re.findall(r'<td class="(?:gain|loss|same)', html)
    assert len(cells) == (len(results.rows) - 1) * len(results.dataset.class_names)
    assert 'class="loss' in html


def test_every_image_has_an_alternative_text_and_every_child_its_lineage(page, gallery):
    images = [attributes for tag, attributes in page.elements if tag == "img"]
    assert images and all("alt" in attributes for attributes in images)
    lineages = json.loads(page.text["lineages"])
    buttons = [a["data-lineage"] for tag, a in page.elements if "data-lineage" in a]
    assert buttons and set(buttons) == set(lineages)
    entry = lineages[buttons[0]]
    assert json.loads(entry["record"])["lineage"]["captions"]
    assert any("variegate augment" in line for line in entry["again"])


def test_seeds_of_64_bits_reach_the_reader_unrounded(page, gallery):
    lineages = json.loads(page.text["lineages"])
    child = next(iter(gallery.methods[3].classes.values()))[0]
    assert f'"seed": {child.lineage["seed"]},' in lineages[f"3-{child.item_id}"]["record"]


def test_unsafe_pictures_are_blurred(html):
    assert '<img class="unsafe"' in html


def test_parents_are_shown_beside_children_and_rejected_ones_with_reasons(gallery, html):
    mvc = next(method for method in gallery.methods if method.label == "mvc")
    assert len(mvc.classes) == 10
    assert all(child.parents for children in mvc.classes.values() for child in children)
    assert {image.reason for image in mvc.rejected} <= {
        "NEAR_DUPLICATE",
        "UNSAFE",
        "LOW_CLIP_SCORE",
    }
    assert "does not look like its class" in html


def test_the_papers_figures_are_marked_as_theirs(html):
    assert "Theirs, not ours" in html
    assert "pseudoword_dm" in html and "61.2" in html


def test_hostile_names_cannot_become_markup(results, gallery):
    hostile = "</script><script>alert(1)</script>"
    dataset = replace(results.dataset, name=hostile)
    row = replace(results.rows[1], label=hostile)
    changed = replace(results, dataset=dataset, rows=(results.rows[0], row, *results.rows[2:]))
    method = gallery.methods[0]
    child = replace(next(iter(method.classes.values()))[0], prompt=hostile)
    shown = Gallery((MethodGallery(hostile, {hostile: (child,)}, ()),))
    assert hostile not in render_report(changed, shown)


def test_a_study_without_gains_pictures_or_oracle_still_reports_honestly(results):
    rows = tuple(row for row in results.rows if row.method in ("baseline", "contextual"))
    poor = replace(rows[1], gain=-0.01, mean_accuracy=0.1, beats_baseline=False)
    html = render_report(replace(results, rows=(rows[0], poor), timings=(), rejected={}), Gallery())
    assert "No method beat the real images alone" in html
    assert "oracle: no method" not in html


def test_the_gallery_keeps_to_its_budget(sample):
    small = build_gallery(
        sample.store, sample.dataset_uris, sample.augmentations, images_per_class=9, budget=60_000
    )
    assert len(render_report(build_results(sample.spec, sample.records), small)) < 500_000


def test_an_image_that_is_gone_does_not_lose_the_report(sample, results):
    store = type(sample.store)()
    for key in sample.store.list(""):
        if not key.startswith("images/"):
            store.put(key, sample.store.get(key))
    gallery = build_gallery(
        store, sample.dataset_uris, sample.augmentations[:1], images_per_class=9
    )
    assert "image is gone from the store" in render_report(results, gallery)


def test_of_very_many_classes_that_got_worse_the_worst_are_named(results):
    row = results.rows[1]
    gains = tuple(ClassGain(f"c{n:03}", 0.5, 0.01, -0.001 * n, 0.01) for n in range(1, 101))
    many = replace(results, rows=(results.baseline, replace(row, classes=gains)))
    losses = class_map(many).rows[0].losses
    assert losses.startswith("c100 ") and losses.endswith(" and 60 more")
    assert losses.count("c0") == 39


def test_each_row_of_a_grid_is_drawn_with_the_baseline_of_its_own_policy(results):
    own = replace(results.baseline, mean_accuracy=0.123, policy="randaugment")
    row = replace(results.best, policy="randaugment")
    grid = replace(results, rows=(*results.rows, own, row))
    drawn = Page(accuracy_plot(grid)).elements
    places = [at["x1"] for _, at in drawn if at.get("class") == "baseline"]
    assert len(set(places[:-2])) == 1 and len(set(places[-2:])) == 1
    assert places[0] != places[-1]
    assert len(class_map(grid).rows) == len(grid.rows) - 2


def test_the_first_sentence_is_of_the_best_rows_own_images_and_baseline(results):
    """In a grid rows add fewer images than the most, and each policy has its own baseline."""
    fewer = replace(results.best, added_image_count=1234, images_per_class=7, policy="randaugment")
    own = replace(results.baseline, mean_accuracy=0.123, policy="randaugment")
    others = [row for row in results.rows if row is not results.best]
    grid = replace(results, rows=(*others, own, fewer))
    lead = words.lead(grid)
    assert lead.startswith("From 12.3 % with real images alone to ")
    assert "with 1,234 added images; gain" in lead
    facts = {what for _, what in words.facts(grid)}
    assert "images added per class at most" in facts
    assert "images added per class" in {what for _, what in words.facts(results)}
