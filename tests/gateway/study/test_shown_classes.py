"""What a row's images show, and which prompts were cut, in results.json and the report."""

import json
import re
from dataclasses import replace

import pytest

from gateway.api.resources import ClassPrompts
from gateway.augment.lengths import PromptLengths
from gateway.augment.recognition import ClassRecognition
from gateway.augment.senses import Sense, SenseChoice
from gateway.export.results import StudyResults
from gateway.study import Gallery, build_results, render_report


@pytest.fixture(scope="module")
def results(sample):
    first, *others = sample.augmentations
    boat = SenseChoice(Sense("boat.n.01", "a small vessel for travel on water"), 0.019, True)
    seen = replace(
        first,
        recognition=(
            ClassRecognition("bird", 64, 50, 64, 45, 10),
            ClassRecognition("ship", 64, 60, 64, 3, 10),
            ClassRecognition("frog", 64, 6, 64, 6, 10),
        ),
        lengths=PromptLengths(80, 3, 77, ("a photo of …",)),
        prompts=(ClassPrompts("boat", 8, sense=boat),),
    )
    return build_results(sample.spec, sample.records, [seen, *others])


def test_the_results_have_the_worst_class_first_and_notes_on_what_was_lost_and_cut(results):
    row = next(row for row in results.rows if row.recognition)
    assert [(one["class_name"], one["verdict"]) for one in row.recognition] == [
        ("ship", "lost"), ("bird", "found"), ("frog", "unknown"),
    ]  # fmt: skip
    assert row.cut_prompts == {"prompt_count": 80, "cut_count": 3, "token_limit": 77}
    notes = " ".join(results.notes)
    assert f"{row.label}: CLIP finds 1 of 3 classes far less" in notes
    assert "ship: 3 of 64 here, 60 of 64 real" in notes
    assert "3 of 80 prompts are longer than the 77 tokens" in notes
    assert notes.count("no more often than by chance (frog)") == 1
    assert "boat (a small vessel for travel on water)" in notes and "boat.n.01" not in notes
    again = StudyResults.from_json(results.to_json())
    assert json.loads(again.to_json()) == json.loads(results.to_json())


def test_the_report_has_the_shares_and_the_definitions(results):
    html = render_report(results, Gallery(()))
    assert "1 of 3 classes lost" in html
    shown = html.index('<th scope="row">ship</th>'), html.index('<th scope="row">frog</th>')
    assert shown[0] < shown[1]
    assert "4.7 % of 64" in html and "93.8 % of 64" in html and "−89.1" in html
    assert "a small vessel for travel on water" in html and "boat=boat.n.01" in html


def test_every_link_of_the_report_leads_to_a_section_that_is_there(results, sample):
    without = build_results(sample.spec, sample.records, sample.augmentations)
    for found, shows in ((results, True), (without, False)):
        html = render_report(found, Gallery(()))
        links = set(re.findall(r'href="#([a-z]+)"', html))
        assert links <= set(re.findall(r'id="([a-z]+)"', html))
        assert ("shown" in links) is shows
