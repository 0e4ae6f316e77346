#!/usr/bin/env bash
# Builds the Traefik that the labs run, once: five minutes and 180 MB, in the
# user's cache. lab.TraefikProgram names the same path. Used by
# `make lab-traefik`.
set -euo pipefail
cd "$(dirname "$0")/../internal/lab/traefik"
version=$(go list -m -f '{{.Version}}' github.com/traefik/traefik/v3)
program=${XDG_CACHE_HOME:-$HOME/.cache}/foreshock/traefik-$version
if [[ -x $program ]]; then
	echo "Traefik $version is there: $program"
	exit 0
fi
mkdir -p "$(dirname "$program")"
trap 'rm -f "$program.new"' EXIT
CGO_ENABLED=0 go build -p 2 -mod=readonly -trimpath -ldflags '-s -w' -o "$program.new" github.com/traefik/traefik/v3/cmd/traefik
mv "$program.new" "$program"
echo "Traefik $version is built: $program"
