#!/usr/bin/env bash
# Installs the program, its unit and its user: tools/install.sh DESTDIR PREFIX.
set -euo pipefail
cd "$(dirname "$0")/.."
dest=$1 prefix=$2

install -D -m 755 bin/foreshock "$dest$prefix/bin/foreshock"
unit="$dest$prefix/lib/systemd/system/foreshock.service"
install -D -m 644 deploy/foreshock.service "$unit"
sed -i "s|^ExecStart=/usr/local/bin/|ExecStart=$prefix/bin/|" "$unit"
install -D -m 644 deploy/foreshock.sysusers "$dest$prefix/lib/sysusers.d/foreshock.conf"
# An existing configuration is the user's: it stays.
[[ -e "$dest/etc/foreshock/foreshock.yaml" ]] ||
	bin/foreshock config reference | install -D -m 640 /dev/stdin "$dest/etc/foreshock/foreshock.yaml"
for shell in bash zsh fish; do
	case $shell in
	bash) file=share/bash-completion/completions/foreshock ;;
	zsh) file=share/zsh/site-functions/_foreshock ;;
	fish) file=share/fish/vendor_completions.d/foreshock.fish ;;
	esac
	bin/foreshock completion "$shell" | install -D -m 644 /dev/stdin "$dest$prefix/$file"
done

if [[ -n $dest ]]; then
	echo "installed into $dest"
	exit
fi
if command -v systemd-sysusers >/dev/null; then
	systemd-sysusers "$prefix/lib/sysusers.d/foreshock.conf"
elif ! getent passwd foreshock >/dev/null; then
	useradd --system --home-dir /var/lib/foreshock --shell /usr/sbin/nologin foreshock
fi
chgrp foreshock /etc/foreshock/foreshock.yaml
echo "installed $prefix/bin/foreshock and its unit; start it with"
echo "  systemctl daemon-reload && systemctl enable --now foreshock"
