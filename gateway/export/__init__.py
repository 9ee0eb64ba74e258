"""Export of augmentations to folders of this machine."""

from gateway.export.exporting import ExportSummary, export_augmentation, format_ids

__all__ = ["ExportSummary", "export_augmentation", "format_ids"]
