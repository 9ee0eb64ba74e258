"""A review in the works: what the page asks for and decides, without HTTP."""

import threading
from pathlib import Path
from typing import Any

from gateway.cli.review.catalogue import Catalogue, Query, Shown
from gateway.cli.review.log import Decision, Entry, ReviewLog
from gateway.cli.review.pictures import Pictures


class Desk:
    """The images of an output and the decisions on them. Threads may share it."""

    def __init__(self, folder: Path, manifest: Path, originals: Path | None) -> None:
        self.folder = folder
        self._log = ReviewLog(folder)
        self.catalogue = Catalogue(manifest, self._log.review)
        self.pictures = Pictures(folder, manifest, originals)
        self._lock = threading.Lock()

    def summary(self) -> dict[str, Any]:
        """What the page shows of the whole: classes with their counts, and the scores."""
        return {
            "folder": str(self.folder),
            "scores": list(self.catalogue.scores),
            "classes": [
                {"name": name, **{one.value: counts[one] for one in Decision}}
                for name, counts in zip(self.catalogue.classes, self.catalogue.counts, strict=True)
            ],
            "counts": self.counts(),
        }

    def counts(self) -> dict[str, int]:
        """How many images are decided, and how."""
        every = self.catalogue.counts
        return {one.value: sum(counts[one] for counts in every) for one in Decision}

    def images(self, query: Query) -> dict[str, Any]:
        """Some images, and how many there are of their kind."""
        images, total = self.catalogue.images(query)
        return {"images": list(map(self._document, images)), "total": total}

    def details(self, number: int) -> dict[str, Any]:
        """All that is known of an image. Raises KeyError if there is none of this number."""
        image = self.catalogue.image(number)
        parents = [vars(parent) for parent in self.pictures.parents(image)]
        facts = self.pictures.facts(image)
        return {**self._document(image), "parents": parents, "facts": facts}

    def decide(self, number: int, decision: Decision) -> dict[str, Any]:
        """Decides on an image, on the disk first. Raises KeyError, and OSError for a full disk."""
        with self._lock:
            image = self.catalogue.image(number)
            if image.decision is not decision:
                self._log.decide(self._entry(image, decision))
                self.catalogue.decide(image, decision)
            return self._decided(number)

    def undo(self) -> dict[str, Any] | None:
        """Takes the last decision back, also one of an earlier session; None if there is none."""
        with self._lock:
            while self._log.review.undoable:
                last, before = self._log.review.undoable[-1]
                image = self.catalogue.find(last.sha256)
                if image is None:  # Of an image that was replaced since.
                    self._log.review.undoable.pop()
                    continue
                self._log.decide(self._entry(image, before, undoes=True))
                self.catalogue.decide(image, before)
                return self._decided(image.number)
            return None

    def _decided(self, number: int) -> dict[str, Any]:
        image = self.catalogue.image(number)
        of_class = self.catalogue.counts[image.class_number]
        return {
            **self._document(image),
            "counts": self.counts(),
            "class_counts": {one.value: of_class[one] for one in Decision},
        }

    def _entry(self, image: Shown, decision: Decision, *, undoes: bool = False) -> Entry:
        name = self.catalogue.classes[image.class_number]
        return Entry(image.sha256, image.item_id, name, decision, undoes)

    def _document(self, image: Shown) -> dict[str, Any]:
        scores = zip(self.catalogue.scores, image.scores, strict=True)
        return {
            "number": image.number,
            "item_id": image.item_id,
            "class": image.class_number,
            "class_name": self.catalogue.classes[image.class_number],
            "file_name": image.file_name,
            "decision": image.decision.value,
            "scores": {name: score for name, score in scores if score is not None},
        }
