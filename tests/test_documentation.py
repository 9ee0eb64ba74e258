"""The pages for users lead to what is there."""

import re
from itertools import chain
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    chain(
        (ROOT / name for name in ("README.md", "CONTRIBUTING.md")),
        *((ROOT / folder).rglob("*.md") for folder in ("docs", "k8s", "models", "studies")),
    )
)
LINK = re.compile(r"\]\((?!https?:)([^)\s]*)\)")


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_of_a_page_lead_somewhere(page: Path):
    for link in LINK.findall(page.read_text()):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_the_readme_leads_to_every_page_of_the_documentation():
    links = set(LINK.findall((ROOT / "README.md").read_text()))
    assert {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")} <= links


def test_pages_that_messages_name_are_there():
    named = {
        name
        for file in (ROOT / "gateway").rglob("*.py")
        for name in re.findall(r"docs/\w+\.md", file.read_text())
    }
    assert len(named) >= 2
    assert {name for name in named if not (ROOT / name).exists()} == set()
