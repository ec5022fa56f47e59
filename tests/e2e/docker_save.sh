#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# docker_save.sh CAISSON TOOL - an image that Docker itself built and saved is
# imported, run, and is what Docker says it is.  Starts a daemon of its own on
# a socket of its own; skipped aloud where that cannot be.
set -eu
caisson=$1 tool=$2
skip() {
  echo "1..0 # SKIP $1"
  exit 0
}
[ "$(id -u)" = 0 ] || skip "not root: a Docker daemon is root's"
command -v dockerd >/dev/null && command -v docker >/dev/null || skip "this machine has no dockerd"
top=$(mktemp -d)
socket=$top/docker.sock
dockerd --host "unix://$socket" --data-root "$top/data" --exec-root "$top/exec" \
  --pidfile "$top/pid" --iptables=false --ip6tables=false --bridge=none --storage-driver=vfs \
  >"$top/log" 2>&1 &
daemon=$!
finish() {
  kill "$daemon" 2>/dev/null && wait "$daemon" 2>/dev/null || true
  umount "$top"/data/* "$top"/exec/* 2>/dev/null || true
  umount "$top/data" "$top/exec" 2>/dev/null || true # dockerd may make its folder a mount
  rm -rf -- "$top"
}
trap finish EXIT
export DOCKER_HOST="unix://$socket" DOCKER_CONFIG="$top" DOCKER_BUILDKIT=0
tries=0
until docker version >/dev/null 2>&1; do
  tries=$((tries + 1))
  if [ "$tries" = 150 ] || ! kill -0 "$daemon" 2>/dev/null; then
    skip "dockerd does not start here: $(tail -n 1 "$top/log" | cut -c 1-150)"
  fi
  sleep 0.2
done

# Two images with a layer in common, built without a network.
mkdir -p "$top/root/bin" "$top/root/etc" "$top/root/old"
cp "$tool" "$top/root/bin/tool"
ln -s tool "$top/root/bin/sh"
echo "app:x:33:33:::" >"$top/root/etc/passwd"
echo "first" >"$top/root/f"
echo "x" >"$top/root/old/x"
tar -C "$top/root" -c . | docker import - base:1 >"$top/out"
mkdir "$top/build"
echo "second" >"$top/build/f"
printf 'FROM base:1\nCOPY f /f\nENV FROM=docker\nUSER app\nENTRYPOINT ["/bin/tool"]\n' >"$top/build/Dockerfile"
docker build -q -t app:2 "$top/build" >"$top/out" 2>&1 || skip "docker build does not work here: $(tail -n 1 "$top/out" | cut -c 1-150)"
docker save base:1 app:2 -o "$top/both.tar"
docker save app:2 | gzip >"$top/app.tar.gz"

failed=0 n=0
is() { # name want got
  n=$((n + 1))
  if [ "$2" = "$3" ]; then
    echo "ok $n - $1"
  else
    echo "not ok $n - $1"
    echo "# got '$3', expected '$2'"
    failed=1
  fi
}
export CAISSON_IMAGES="$top/images"
is "a_saved_image_is_imported_by_its_name" "image:app:2" "$("$caisson" image import "$top/app.tar.gz" 2>/dev/null)"
is "one_of_two_is_chosen_by_its_tag" "image:base" "$("$caisson" image import "oci:$top/both.tar@base:1" --name base 2>/dev/null)"
"$caisson" image import "$top/both.tar" >"$top/out" 2>&1 || true
is "without_a_tag_it_says_what_to_do" 1 "$(grep -c '@NAME:TAG' "$top/out")"
run() {
  "$caisson" sandbox run --rootfs image:app:2 -- "$@" </dev/null
}
is "its_layers_lie_over_each_other" "second" "$(run tool cat /f)"
is "its_lower_layer_is_that_of_the_other" "first" "$("$caisson" sandbox run --rootfs image:base -- tool cat /f </dev/null)"
is "its_user_and_variables_hold" "33:33 docker" "$(run tool id) $(run tool env FROM)"
is "its_layers_have_the_digests_that_docker_says" \
  "$(docker image inspect -f '{{json .RootFS.Layers}}' app:2)" \
  "$("$caisson" image ls --json | tr '}' '\n' | grep '"name":"app:2"' | sed 's/.*"layers"://')"
echo "1..$n"
exit $failed
