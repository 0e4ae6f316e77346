#!/usr/bin/env bash
# Whether two commits find the same in recordings:
#   tools/compare-findings.sh OLD NEW DIR
# builds both in worktrees of their own, replays each recording of DIR (*.rec)
# with both, and prints which differ, with the first lines that do: < is OLD's, >
# NEW's. One that either cannot read, or of which they pass over different parts,
# is said so and not compared. Ends with 0 when all are the same, 3 when some
# differ, 1 when not all could be compared.
set -euo pipefail

[[ $# -eq 3 ]] || { echo "usage: tools/compare-findings.sh OLD NEW DIR" >&2; exit 2; }
compgen -G "$3/*.rec" >/dev/null || { echo "$3 has no recording, *.rec" >&2; exit 2; }
recordings=$(cd "$3" && pwd)
cd "$(dirname "$0")/.."
work=$(mktemp -d)
cleanup() {
	for side in old new; do
		[[ ! -e $work/$side ]] || git worktree remove --force "$work/$side"
	done
	rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 1' INT TERM HUP

# build SIDE COMMIT: the program of a commit, as $work/SIDE-foreshock
build() {
	git rev-parse --verify --quiet "$2^{commit}" >/dev/null || { echo "$2 is no commit" >&2; exit 2; }
	echo "building $(git rev-parse --short "$2")" >&2
	git worktree add --quiet --detach "$work/$1" "$2"
	CGO_ENABLED=0 go build -C "$work/$1" -trimpath -o "$work/$1-foreshock" ./cmd/foreshock
	[[ $("$work/$1-foreshock" replay --help 2>&1) == *"foreshock replay FILE"* ]] || { echo "$2 is from before foreshock replay: it cannot be compared" >&2; exit 1; }
}

build old "$1"
build new "$2"
same=0 differ=0 unread=0
for recording in "$recordings"/*.rec; do
	name=$(basename "$recording") read=yes
	for side in old new; do
		"$work/$side-foreshock" replay "$recording" --output json >"$work/$side.json" 2>"$work/stderr" || read=no
		grep -v '^foreshock: played until' "$work/stderr" >"$work/$side.said" || true
	done
	if [[ $read == no ]] || ! cmp -s "$work/old.said" "$work/new.said"; then
		unread=$((unread + 1))
		echo "$name: not compared"
		for side in old new; do
			sed -n "1s/^foreshock:/  the $side program:/p" "$work/$side.said"
		done
	elif diff "$work/old.json" "$work/new.json" >"$work/diff"; then
		same=$((same + 1))
	else
		differ=$((differ + 1))
		echo "$name: $(grep -c '^[<>]' "$work/diff") lines differ"
		sed -n '/^[<>]/s/^/  /p' "$work/diff" | cut -c 1-240 | sed -n 1,4p
	fi
done
echo "$same the same, $differ differ, $unread not compared"
((unread == 0)) || exit 1
((differ == 0)) || exit 3
