#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# embed.sh OUTPUT NAME FILE... - assembler source that holds each file's bytes
# under NAME, and its end under NAME_end.
set -eu
out=$1
shift
{
  echo '.section .rodata'
  while [ $# -gt 0 ]; do
    for symbol in "$1" "$1_end"; do
      echo ".global $symbol"
      echo ".hidden $symbol"
    done
    echo '.balign 16'
    echo "$1:"
    echo ".incbin \"$2\""
    echo "$1_end:"
    echo '.byte 0'
    shift 2
  done
  echo '.section .note.GNU-stack,"",%progbits'
} >"$out"
