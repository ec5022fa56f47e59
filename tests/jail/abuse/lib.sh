# SPDX-License-Identifier: Apache-2.0
# lib.sh - how a case of abuse tries and tells.
#
# A case is a function case_N of attempts.  It runs inside of a jail and, so
# that a refusal there means something, outside of it, where the same attempts
# have to work.  An attempt is a command that ends with 0 when it worked and
# with 1 when it was refused (the errno's name on stdout); everything else says
# that it could not be tried.
#
#   try WHAT CMD...           works outside for whoever calls it
#   as_root WHAT CMD...       works outside for root
#   maybe ERRNOS WHAT CMD...  works outside on some machines; inside it is
#                             refused with one of the errnos
#   alone ERRNOS WHAT CMD...  is not tried outside, where it would do harm
#   bound WHAT CMD...         takes more than a sandbox should have; not outside
#
# A line of output: attempt, how it is compared, status, errnos, what came.
# FROM skips attempts: after one that had everything killed, the case goes on.
tab=$(printf '\t')
line='
'
attempts=0

attempt() { # how errnos what command...
  how=$1 errnos=$2 what=$3
  shift 3
  attempts=$((attempts + 1))
  [ $attempts -gt "${FROM:-0}" ] || return 0
  echo "$attempts$tab$how${tab}began$tab$errnos$tab$what$tab"
  status=0
  said=$("$@" 2>&1 </dev/null) || status=$?
  echo "$attempts$tab$how$tab$status$tab$errnos$tab$what$tab${said%%"$line"*}"
}

inside() {
  [ "$WHERE" = inside ]
}

try() {
  attempt try - "$@"
}

as_root() {
  if inside || [ "$ROOT" = yes ]; then attempt try - "$@"; fi
}

maybe() {
  attempt maybe "$@"
}

alone() {
  if inside; then attempt alone "$@"; fi
}

bound() {
  if inside; then attempt bound - "$@"; fi
}

probe() {
  "$WORKSPACE/probe" "$@"
}
