"""Writes the services' Dockerfiles from images/Dockerfile.in: python -m images.dockerfiles.

They differ in these facts alone, and a test says when one of them was changed by hand.
"""

import tomllib
from pathlib import Path

from servicekit.places import SERVICES, port_of

ROOT = Path(__file__).resolve().parent.parent
TEMPLATE = ROOT / "images" / "Dockerfile.in"

DESCRIPTIONS = {
    "gateway": "Plans and runs the enlarging of labelled image sets with the other services.",
    "captioner": "Says what is on images, with BLIP-2.",
    "prompter": "Writes prompts for classes: templates, WordNet, a language model.",
    "generator": "Makes images with diffusion models, from text, images and embeddings.",
    "retriever": "Finds images in pools with CLIP, and screens them.",
    "trainer": "Trains and evaluates classifiers.",
}

# What a service needs of the product besides what all share.
ROOMS = {"generator": ("diffusion",)}

# The small model that the service's own settings name, by its folder in models/nano.
NANO = {"captioner": "captioner", "generator": "diffusion", "retriever": "clip"}


def version() -> str:
    """Returns the project's version, which is the images' tag."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return str(project["version"])


def dockerfile(service: str) -> str:
    """Returns the Dockerfile of a service."""
    rooms = "".join(f"COPY {room} {room}\n" for room in ROOMS.get(service, ()))
    models = ""
    if folder := NANO.get(service):
        models = (
            "COPY models/nano/__init__.py models/nano/\n"
            f"COPY models/nano/{folder} models/nano/{folder}\n"
        )
    return TEMPLATE.read_text().format(
        service=service,
        rooms=rooms,
        models=models,
        version=version(),
        description=DESCRIPTIONS[service],
        port=port_of(service),
    )


def main() -> None:
    """Writes them all."""
    for service in SERVICES:
        (ROOT / service / "Dockerfile").write_text(dockerfile(service))


if __name__ == "__main__":
    main()
