"""Runs clip-retrieval's own index builder and back end; for its own environment, not for ours.

`program.py index EMBEDDINGS FOLDER` or `program.py back PATHS PORT PROVIDER`. Nothing of it is
changed. Its package imports everything at once, and its back end loads CLIP from a hub: neither
matters for queries that are embeddings, so only the two modules are imported, and the model that
they are given is none.
"""

import sys
import types
from importlib.util import find_spec


def main(verb: str, *arguments: str) -> None:
    """Runs a verb."""
    spec = find_spec("clip_retrieval")
    package = types.ModuleType("clip_retrieval")
    package.__path__ = list(spec.submodule_search_locations)
    sys.modules["clip_retrieval"] = package
    if verb == "index":
        from clip_retrieval.clip_index import clip_index

        embeddings, folder = arguments
        clip_index(embeddings, folder, nb_cores=2)
    else:
        paths, port, provider = arguments
        torch, clip = types.ModuleType("torch"), types.ModuleType("all_clip")
        torch.cuda = types.SimpleNamespace(is_available=lambda: False)
        clip.load_clip = lambda *names, **options: (None, None, None)
        sys.modules.update(torch=torch, all_clip=clip)
        from clip_retrieval.clip_back import clip_back

        clip_back(
            paths,
            port=int(port),
            columns_to_return=["image_path", "sha256", "caption"],
            enable_hdf5=provider == "hdf5",
            use_arrow=provider == "arrow",
            enable_mclip_option=False,
            provide_aesthetic_embeddings=False,
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
