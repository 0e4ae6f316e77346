#!/usr/bin/env bash
# The labs' runs as test data, in testdata/episodes:
#   tools/episodes.sh play DIR    plays the chosen cells, six at a time, and keeps their episodes in DIR: 40 minutes
#   tools/episodes.sh keep DIR    copies one run of each cell that met all of its goals, and writes the golden score
# Playing needs root, for network namespaces of its own. It goes on where it was
# when it is called again.
set -euo pipefail
cd "$(dirname "$0")/.."
to=testdata/episodes

# Each balancer with each fault, each way in which a region fails, and of the
# servers those that are not a variation of another. Left out are what takes
# longer than five minutes; failures of a share of the requests, which are found
# by chance; and containers, as their agent sees the worlds of the cells beside
# it too.
workers=gradual,fast,burst,application-slows,nginx-connections,slowloris,leak,syn-flood,stuck-closing
workers+=,healthy-event-keepalive,healthy-graceful-reload,healthy-step-within
healthy_backends=-restart,haproxy-burst,nginx-kept-burst,haproxy-slow-backend,haproxy-master-reload-backends,nginx-reload-backends

play() {
	[[ $EUID -eq 0 ]] || { echo "the labs make network namespaces: run this as root" >&2; exit 1; }
	[[ -z $(git status --porcelain) ]] || { echo "commit first: a recording names the program that made it" >&2; exit 1; }
	local commit
	commit=$(git rev-parse --short HEAD)
	mkdir -p "$1"
	[[ -e $1/commit ]] || echo "$commit" >"$1/commit"
	[[ $(<"$1/commit") == "$commit" ]] || { echo "$1 has episodes of $(<"$1/commit"), and this is $commit: use another folder" >&2; exit 1; }
	export PATH="$PATH:/usr/sbin:/sbin"
	make -s build
	go build -o bin/foreshock-bench ./internal/lab/bench
	# bench SUBFOLDER WHAT FLAGS… ; a goal that is missed is no reason to stop.
	bench() {
		local folder=$dir/$1
		shift
		bin/foreshock-bench "$@" -peers=false -resume -commit episode -results "$folder" -episodes "$folder" >>"$dir/bench.log" 2>&1 || true
		echo "$(date +%T) played: $*"
	}
	local dir=$1
	{
		bench runs workers -parallel 2 -cell "$workers" -skip random,burst-within
		bench sockets workers -every-socket -cell fast
		bench sockets backends -every-socket -cell nginx-kept-blackholed
		bench runs backends -parallel 2 -cell "$healthy_backends" -skip contained,restarted
		bench runs regions -parallel 2 -cell healthy -skip busy,night,loss-1
	} &
	{
		bench runs regions -parallel 4 -skip busy,healthy
		bench runs backends -parallel 4 -skip healthy,contained,restarted-,over-restart,-some
	} &
	wait
	echo "$(find "$dir" -name '*.rec' | wc -l) recordings; what was said is in $dir/bench.log"
}

keep() {
	compgen -G "$1/*/*.rec" >/dev/null || { echo "$1 has no recording: tools/episodes.sh play $1 makes them" >&2; exit 1; }
	mkdir -p "$to"
	rm -f "$to"/*.rec "$to"/*.rec.labels.yaml
	local recording run cell missed
	for recording in "$1"/runs/*.rec "$1"/sockets/*-sockets.rec; do
		[[ -e $recording ]] || continue
		run=$(basename "$recording" .rec)
		run=${run%-sockets}
		cell=${run%-*}
		[[ $recording != *-sockets.rec ]] || cell+=-sockets
		[[ ! -e $to/$cell.rec ]] || continue
		missed=$(tr -d '\n' <"$(dirname "$recording")/episode-$run.json" | grep -o '"missed": \[[^]]*\]' || echo "it did not end") 2>/dev/null
		if [[ $missed == '"missed": []' ]]; then
			cp "$recording" "$to/$cell.rec"
			cp "$recording.labels.yaml" "$to/$cell.rec.labels.yaml"
		else
			echo "left out: $run: $missed" | tr -s ' '
		fi
	done
	chmod 644 "$to"/*.rec*
	go run ./cmd/foreshock score "$to" --golden "$to/score.golden" --update
	echo
	du -b "$to"/*.rec | sort -n | awk '{ all += $1; print } END { printf "%d recordings, %.1f MB; they may have 20\n", NR, all / 1e6 }'
}

case ${1:-} in
play | keep)
	[[ $# -eq 2 ]] && "$1" "$2"
	;;
*)
	echo "usage: tools/episodes.sh play|keep DIR" >&2
	exit 2
	;;
esac
