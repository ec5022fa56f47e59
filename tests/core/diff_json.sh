#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# diff_json.sh json_canon [seed] - runs diff_json.py, or says why not.
command -v python3 >/dev/null || { echo "1..0 # SKIP python3 is not installed"; exit 0; }
exec python3 "$(dirname "$0")/diff_json.py" "$@"
