"""Searches for an image policy, each for all training runs of the same images and classifier."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from trainer.kinds.classify import ChosenImages, ClassifyKind
from trainer.runs import JobResult, RunRequest, RunSpec, SearchResult, SearchSpec
from trainer.searching.found import FOUND
from trainer.searching.requests import SEARCHES


class SearchKind(ClassifyKind):
    """Searches, on the server's side: what they work on is that of a run of real images."""

    collection: ClassVar[str] = SEARCHES
    title: ClassVar[str] = "policy search"
    prefix: ClassVar[str] = "search"
    Result: ClassVar[type[JobResult]] = SearchResult

    def files(self, spec: RunSpec) -> Mapping[str, bytes]:
        """The policy that was found."""
        return {FOUND: (Path(spec.folder) / FOUND).read_bytes()}

    def kept(self, result: Any, uris: Mapping[str, str], metrics_uri: str) -> Any:
        """The result with the two places."""
        return replace(result, policy_uri=uris[FOUND], metrics_uri=metrics_uri)

    def pace_key(self, request: RunRequest) -> Sequence[Any]:
        """As of a run, and apart from it: a trial is no step of a classifier."""
        return ["search", *super().pace_key(request)]

    def _spec(self, run: str, request: RunRequest, images: ChosenImages) -> RunSpec:
        values = dataclasses.asdict(super()._spec(run, request, images))
        return SearchSpec(**{**values, "job": "search", "sizes": request.search})
