#!/usr/bin/env bash
# The long measurements:
# tools/bench.sh cost|pools|notify|detect|workers|backends|regions|drain|replay|past [flags];
# detect is workers, backends and regions. All but replay and past need root, for
# network namespaces of their own. Results are kept in bin/bench, by commit;
# -resume takes a run up again.
# Used by `make bench`.
set -euo pipefail
cd "$(dirname "$0")/.."
usage() {
	echo "usage: tools/bench.sh cost|pools|notify|detect|workers|backends|regions|drain|replay|past [flags]" >&2
	exit 2
}
[[ $# -gt 0 ]] || usage
what=$1
shift
export PATH="$PATH:/usr/sbin:/sbin"
if [[ $EUID -ne 0 && $what != replay && $what != past ]]; then
	echo "the benchmarks make network namespaces: run them as root" >&2
	exit 1
fi
make -s build
go build -o bin/foreshock-bench ./internal/lab/bench
commit=$(git rev-parse --short HEAD)
if [[ -n $(git status --porcelain) ]]; then
	commit+=-dirty
	if [[ " $* " == *" -resume "* ]]; then
		echo "-resume would mix results of different code: commit first" >&2
		exit 2
	fi
fi

echo "host: $(nproc) cores, $(awk -F': ' '/model name/ {print $2; exit}' /proc/cpuinfo), Linux $(uname -r | cut -d. -f1,2), $(go version | cut -d' ' -f3), commit $commit"
case $what in
cost)
	go build -C internal/lab/peers -o "$PWD/bin/foreshock-peers" .
	bin/foreshock-peers -sockets "${SIZES:-1000,10000,100000}" -rounds "${ROUNDS:-11}"
	[[ -n ${SIZES:-} ]] || bin/foreshock-peers -sockets 500000 -rounds 1
	if command -v prometheus-node-exporter >/dev/null; then
		bin/foreshock-bench steady -commit "$commit" "$@"
	else
		echo "skipped: the steady agent beside node_exporter; install prometheus-node-exporter" >&2
	fi
	bin/foreshock-bench workers -cell gradual -skip random -peers=false -commit "$commit"
	;;
pools)
	bin/foreshock-bench pools -commit "$commit" -through generator "$@"
	bin/foreshock-bench pools -commit "$commit" -through traefik "$@"
	;;
notify)
	bin/foreshock-bench notify -commit "$commit" "$@"
	;;
detect | workers | backends | regions)
	for package in prometheus prometheus-blackbox-exporter prometheus-node-exporter slowhttptest; do
		command -v "$package" >/dev/null || { echo "missing: install $package, or leave the peers out with -peers=false" >&2; missing=1; }
	done
	[[ -z ${missing:-} || "$*" == *-peers=false* ]] || exit 1
	picture=()
	[[ $what != detect && $what != backends ]] || picture=(-picture "bin/bench/$commit-backends.svg")
	bin/foreshock-bench "$what" -commit "$commit" "${picture[@]}" "$@"
	;;
drain)
	for need in named:bind9 nsupdate:bind9-dnsutils dig:bind9-dnsutils unbound:unbound dnsmasq:dnsmasq-base prometheus-blackbox-exporter:prometheus-blackbox-exporter; do
		command -v "${need%%:*}" >/dev/null || { echo "missing: install ${need##*:}" >&2; missing=1; }
	done
	[[ -z ${missing:-} ]] || exit 1
	bin/foreshock-bench drain -commit "$commit" "$@"
	;;
replay | past)
	bin/foreshock-bench "$what" -commit "$commit" "$@"
	;;
*)
	usage
	;;
esac
