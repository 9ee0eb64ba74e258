#!/usr/bin/env bash
# Sees to it that the base of the images is here: images/base.sh NAME:TAG
#
# It is pulled. Where no registry can be reached, Debian's own Python takes its place under the same
# name, made with debootstrap; that is for trying the images, not for giving them to others.
set -euo pipefail
name=$1
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}

buildah inspect --type image "$name" > /dev/null 2>&1 && exit
buildah pull --quiet "$name" && exit

case $name in
    *:3.11-*bookworm) ;;
    *) echo "$name cannot be pulled, and a stand-in is known for Python 3.11 on bookworm alone" >&2; exit 1 ;;
esac
command -v debootstrap > /dev/null || {
    echo "$name cannot be pulled; install debootstrap, which makes a stand-in" >&2; exit 1; }
cat >&2 << END
*******************************************************************************
$name cannot be pulled. A STAND-IN takes its name: Debian bookworm with
its own Python, from $mirror. Do not publish images built on it.
Forget it with: buildah rmi $name
*******************************************************************************
END
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
debootstrap --variant=minbase --include=ca-certificates,libpython3.11,python3,python3-pip,python3-venv \
    bookworm "$folder/root" "$mirror" > "$folder/log" || { tail -n 20 "$folder/log" >&2; exit 1; }
rm -rf "$folder"/root/var/cache/apt/* "$folder"/root/var/lib/apt/lists/* "$folder"/root/var/log/* \
    "$folder"/root/usr/share/{doc,man,locale}
# The official image has it here.
ln -s /usr/bin/python3.11 "$folder/root/usr/local/bin/python"
tar -C "$folder/root" --sort=name --mtime=@0 --numeric-owner -cf "$folder/root.tar" .
container=$(buildah from scratch)
buildah add --quiet "$container" "$folder/root.tar" / > /dev/null
buildah config --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin --cmd python \
    --label org.variegate.stand-in=true "$container"
buildah commit --quiet --timestamp 0 --rm "$container" "$name"
