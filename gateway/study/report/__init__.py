"""The report of a study: one HTML file that needs nothing else."""

from gateway.study.report.render import render_report

__all__ = ["render_report"]
