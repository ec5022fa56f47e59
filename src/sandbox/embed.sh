#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# embed.sh NAME FILE HEADER - a C header with the bytes of FILE.
set -eu
{
  echo "static const unsigned char $1[] = {"
  od -An -v -tu1 "$2" | sed 's/  */,/g; s/^,//; s/$/,/'
  echo "};"
} >"$3"
