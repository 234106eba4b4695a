#!/usr/bin/env bash
# Runs one stage of the tests and says how long it took.
#
#   stage.sh NAME COMMAND...   runs the command, prints its name and its seconds
#   stage.sh --start           forgets the stages so far
#   stage.sh --report          lists them
set -euo pipefail

times=${XDG_CACHE_HOME:-$HOME/.cache}/funaya/stages
case $1 in
  --start)
    mkdir -p "$(dirname "$times")"
    : >"$times"
    exit
    ;;
  --report)
    echo "== all stages passed"
    cat "$times"
    exit
    ;;
esac

name=$1
shift
echo "== $name"
SECONDS=0
if "$@"; then
  line=$(printf '%6d s  %s' "$SECONDS" "$name")
  mkdir -p "$(dirname "$times")"
  echo "$line" >>"$times"
  echo "== $name: $SECONDS s"
else
  code=$?
  echo "== $name: failed after $SECONDS s" >&2
  exit "$code"
fi
