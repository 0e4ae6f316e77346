#!/usr/bin/env bash
# Runs vet, the tests and the labs, installing what they lack when it may, and
# ends with what was skipped and why. Used by `make test`.
set -euo pipefail
cd "$(dirname "$0")/.."

# Program and the Debian package that brings it.
needs=(ip:iproute2 ss:iproute2 nft:nftables strace:strace apache2:apache2 nginx:nginx-light haproxy:haproxy setpriv:util-linux systemd-analyze:systemd prometheus-alertmanager:prometheus-alertmanager prometheus:prometheus promtool:prometheus exim4:exim4-daemon-light named:bind9 nsupdate:bind9-dnsutils dig:bind9-dnsutils unbound:unbound dnsmasq:dnsmasq-base chromium:chromium)

policy= log=$(mktemp)
trap 'rm -f "$log" $policy' EXIT

missing=()
for need in "${needs[@]}"; do
	PATH="$PATH:/usr/sbin:/sbin" command -v "${need%%:*}" >/dev/null || missing+=("${need##*:}")
done
if ((${#missing[@]})); then
	mapfile -t missing < <(printf '%s\n' "${missing[@]}" | sort -u)
	if [[ $EUID -eq 0 ]] && command -v apt-get >/dev/null; then
		echo "installing: ${missing[*]}"
		# The packages would start their servers; 101 forbids it for this run.
		if [[ ! -e /usr/sbin/policy-rc.d ]]; then # one that is there is the user's
			policy=/usr/sbin/policy-rc.d
			printf '#!/bin/sh\nexit 101\n' >"$policy"
			chmod 755 "$policy"
		fi
		export DEBIAN_FRONTEND=noninteractive
		apt-get update -qq
		apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
	else
		echo "not installed: ${missing[*]}; the labs and browser tests that need them are skipped. As root on Debian, make test installs them." >&2
	fi
fi
export PATH="$PATH:/usr/sbin:/sbin"

echo "go vet"
go vet ./...
(cd internal/lab/peers && go vet ./...)
echo "go test"
status=0
go test -v -count=1 -timeout 20m ./... >"$log" 2>&1 || status=$?
grep -aE '^(ok|FAIL|---? FAIL|panic:|\?)' "$log" | grep -av 'no test files' || true
if [[ $status -ne 0 ]]; then
	echo
	echo "what failed said:"
	# Tests run side by side: each line is its test's by the "===" before it.
	awk '/^=== / { now = $3; next }
		/^[ \t]*--- (PASS|FAIL|SKIP): / {
			if ($2 == "FAIL:") { print; for (i = (n[$3] > 60 ? n[$3] - 60 : 0); i < n[$3]; i++) print said[$3, i] }
			next
		}
		{ said[now, n[now]++] = $0 }' "$log" | tail -n 200
	grep -aA30 -E '^(panic:|#)' "$log" | head -n 60 || true
fi

passed=$(grep -acE '^\s*--- PASS' "$log" || true)
failed=$(grep -acE '^\s*--- FAIL' "$log" || true)
skipped=$(grep -acE '^\s*--- SKIP' "$log" || true)
if ((skipped)); then
	echo
	echo "skipped, and why:"
	# The reason is the line a test printed last before its verdict.
	awk '/^[ \t]*[^ ]+_test\.go:[0-9]+: / { reason = $0; sub(/^[ \t]*[^ ]+_test\.go:[0-9]+: /, "", reason) }
		/--- SKIP/ { name = $0; sub(/^[ \t]*--- SKIP: /, "", name); sub(/ \(.*/, "", name); print "  " name ": " reason; reason = "no reason given" }' "$log"
fi
echo
echo "$passed passed, $failed failed, $skipped skipped"
exit $status
