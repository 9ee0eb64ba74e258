#!/usr/bin/env bash
# Builds images and their bills of materials with buildah: images/build.sh [NAME ...]; without names all.
#
# BASE_IMAGE and BASE_TAG name another base. PIP_INDEX_URL, PIP_EXTRA_INDEX_URL, PIP_FIND_LINKS and
# PIP_CERT are pip's own, as seen inside the build; BUILDAH_OPTIONS adds what they need there, as
# "--volume /wheels:/wheels:ro". The same commit gives the same layers: all files have its date.
set -euo pipefail
cd "$(dirname "$0")/.."
base_image=${BASE_IMAGE:-docker.io/library/python}
base_tag=${BASE_TAG:-3.11-slim-bookworm}
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' pyproject.toml)
revision=$(git rev-parse HEAD 2> /dev/null || echo unknown)
date=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2> /dev/null || echo 0)}
out=build/images
all=(gateway captioner prompter generator retriever trainer triton)
[ $# -gt 0 ] || set -- "${all[@]}"

command -v buildah > /dev/null || { echo "install buildah, which builds the images" >&2; exit 1; }
images/base.sh "$base_image:$base_tag"

# Runs as root in an ordinary machine or container: neither namespaces nor a network of its own.
options=(--isolation chroot --network host --layers --timestamp "$date"
    --build-arg "BASE_IMAGE=$base_image" --build-arg "BASE_TAG=$base_tag"
    --build-arg "VERSION=$version" --build-arg "REVISION=$revision")
for key in PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_FIND_LINKS PIP_CERT; do
    [ -z "${!key:-}" ] || options+=(--build-arg "$key=${!key}")
done
read -ra more <<< "${BUILDAH_OPTIONS:-}"
options+=("${more[@]}")

mkdir -p "$out"
rows=()
for name; do
    file=$name/Dockerfile
    [ "$name" != triton ] || file=generator/triton/Dockerfile
    image=variegate/$name:$version
    start=$SECONDS
    echo "=== $image"
    buildah build "${options[@]}" --file "$file" --tag "$image" . > "$out/$name.log" 2>&1 \
        || { tail -n 30 "$out/$name.log" >&2; echo "$image was not built; see $out/$name.log" >&2; exit 1; }
    took=$((SECONDS - start))
    buildah build "${options[@]}" --file "$file" --target sbom --output "type=local,dest=$out/$name" . \
        >> "$out/$name.log" 2>&1
    mv "$out/$name/sbom.json" "$out/$name.cdx.json" && rmdir "$out/$name"
    size=$(buildah images --json "$image" | sed -n 's/.*"size": "\(.*\)".*/\1/p')
    parts=$(grep -c '"bom-ref"' "$out/$name.cdx.json")
    rows+=("$(printf '%-32s %10s %8s %6s' "$image" "$size" "$took s" "$parts")")
done
printf '%-32s %10s %8s %6s\n' image size built parts
printf '%s\n' "${rows[@]}"
echo "The bills of materials (CycloneDX, Python packages) and the logs are in $out."
