#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# embed_text.sh HEADER NAME FILE [NAME FILE...] - a C header in which each NAME
# is the text of FILE with a NUL after it.
set -eu
out=$1
shift
while [ $# -gt 0 ]; do
  echo "static const char $1[] = {"
  od -An -v -tu1 "$2" | sed 's/  */,/g; s/^,//; s/$/,/'
  echo "0};"
  shift 2
done >"$out"
