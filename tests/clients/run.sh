#!/usr/bin/env bash
# Runs the client tests in namespaces of their own: network (a bare loopback, so that port 443 is free and nothing
# leaves the machine), mounts (/etc/hosts and the CA bundle are replaced there only) and processes (all that a test
# starts dies with it). Needs root. Arguments go to pytest.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

if [ "$(id -u)" != 0 ]; then
  echo "the client tests need root, for namespaces and for the Docker daemon" >&2
  exit 1
fi
cache=${XDG_CACHE_HOME:-$HOME/.cache}/funaya
export FUNAYA_TOOLS=$cache/bin FUNAYA_SDK_2020=$cache/sdk-2020 FUNAYA_ISOLATED=1
export PATH=$cache/venv/bin:$PATH:/usr/sbin:/sbin PYTHONDONTWRITEBYTECODE=1

# The shell stays process 1 and gathers what others leave behind.
exec unshare --mount --net --pid --fork --kill-child --mount-proc -- \
  bash -c 'ip link set lo up; python -m pytest "$@"; exit $?' bash "$@"
