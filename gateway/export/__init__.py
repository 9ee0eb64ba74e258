"""Export of augmentations to folders of this machine."""

from gateway.export.image_folder import ExportSummary, export_image_folder

__all__ = ["ExportSummary", "export_image_folder"]
