"""Writes the services' Dockerfiles from images/Dockerfile.in: python -m images.dockerfiles.

They differ in these facts alone, and a test says when one of them was changed by hand.
"""

import tomllib
from pathlib import Path

from images.requirements import own_requirements, requirements
from servicekit.places import SERVICES, port_of

ROOT = Path(__file__).resolve().parent.parent
TEMPLATE = ROOT / "images" / "Dockerfile.in"

DESCRIPTIONS = {
    "gateway": "Plans and runs the enlarging of labelled image sets with the other services.",
    "captioner": "Says what is on images, with BLIP-2.",
    "prompter": "Writes prompts for classes: templates, WordNet, a language model.",
    "generator": "Makes images with diffusion models, from text, images and embeddings.",
    "retriever": "Finds images in pools with CLIP, and screens them.",
    "trainer": "Trains and evaluates classifiers, and tunes diffusion models.",
}

# What a service needs of the product besides what all share.
ROOMS = {"generator": ("diffusion",), "trainer": ("diffusion",)}

# Between what all need and what is a service's own, where models run.
TORCH = """\
FROM common AS torch
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_FIND_LINKS
ARG PIP_CERT
{run}

"""
TORCH_LAYER = "COPY --from=torch /opt/torch /opt/torch\n"
# Parts of torch are for another Python, or no Python at all.
INSTALL = """\
RUN {python} -m pip --python /opt/venv/bin/python install --quiet --no-compile \\
        --prefix {folder} --constraint constraints.txt \\
        {requirements} \\
    && python -m compileall -q -f --invalidation-mode unchecked-hash \\
        -x '/torch/.*(py312|/templates/)' {folder}"""

# The small model that the service's own settings name, by its folder in models/nano.
NANO = {
    "captioner": "captioner",
    "generator": "diffusion",
    "retriever": "clip",
    "trainer": "diffusion",
}


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
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    common, torch = requirements(project, ""), own_requirements(project, "torch")
    own = own_requirements(project, service)
    has_torch = set(torch) <= set(own)
    return TEMPLATE.read_text().format(
        service=service,
        rooms=rooms,
        common=quoted(common),
        torch=TORCH.format(run=install("/opt/torch", torch)) if has_torch else "",
        torch_layer=TORCH_LAYER if has_torch else "",
        below="torch" if has_torch else "common",
        own=install("/opt/own", [line for line in own if not has_torch or line not in torch]),
        models=models,
        version=version(),
        description=DESCRIPTIONS[service],
        port=port_of(service),
    )


def install(folder: str, lines: list[str]) -> str:
    """Returns the instruction that installs requirements into a folder beside what is there."""
    if not lines:
        return f"RUN mkdir {folder}"
    python = "/opt/tools/bin/python"
    return INSTALL.format(python=python, folder=folder, requirements=quoted(lines))


def quoted(lines: list[str]) -> str:
    """Returns requirements as words of a command, a line each."""
    return " \\\n        ".join(f"'{line}'" for line in lines)


def main() -> None:
    """Writes them all."""
    for service in SERVICES:
        (ROOT / service / "Dockerfile").write_text(dockerfile(service))


if __name__ == "__main__":
    main()
