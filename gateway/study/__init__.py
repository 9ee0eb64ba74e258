"""Studies: statistics, `results.json` and the self-contained report."""

from gateway.study.build import build_results
from gateway.study.gallery import Gallery, build_gallery
from gateway.study.records import Arm, AugmentationRecord, RunRecord, StudySpec
from gateway.study.report import render_report

__all__ = [
    "Arm",
    "AugmentationRecord",
    "Gallery",
    "RunRecord",
    "StudySpec",
    "build_gallery",
    "build_results",
    "render_report",
]
