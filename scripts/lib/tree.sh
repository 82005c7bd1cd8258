# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# The tree: a root file system of Debian 13, for building and for test machines.
# shellcheck disable=SC2154 # from common.sh

# packages SECTION: prints the packages in this section of the list.
packages() {
	sed -n "/^\[$1\]/,/^\[/{/^[a-z0-9]/p}" "$repo/scripts/lib/packages"
}

sum_of() {
	sha256sum | cut -c1-16
}

# stamp_is NAME SUM: whether step NAME has been completed from inputs with this sum.
stamp_is() {
	[ "$(cat "$VNR_CACHE/stamps/$1" 2>/dev/null)" = "$2" ]
}

stamp() {
	mkdir -p "$VNR_CACHE/stamps"
	printf '%s\n' "$2" >"$VNR_CACHE/stamps/$1.new"
	mv "$VNR_CACHE/stamps/$1.new" "$VNR_CACHE/stamps/$1"
}

# host_packages: installs the packages that the host itself needs.
host_packages() {
	local missing=() tool
	for tool in mmdebstrap:mmdebstrap rsync:rsync unshare:util-linux script:bsdutils xz:xz-utils; do
		command -v "${tool%%:*}" >/dev/null || missing+=("${tool##*:}")
	done
	[ ${#missing[@]} -eq 0 ] && return
	step "update the host's package lists" apt-get -q update
	step "install ${missing[*]}" env DEBIAN_FRONTEND=noninteractive \
		apt-get -qy install --no-install-recommends "${missing[@]}"
}

# mirror: prints the mirror that the host's apt uses for Debian, if it can be found.
mirror() {
	if [ -n "${VNR_MIRROR:-}" ]; then
		printf '%s\n' "$VNR_MIRROR"
		return
	fi
	# shellcheck disable=SC2016
	apt-get indextargets --format '$(SITE) $(ORIGIN) $(LABEL)' 2>/dev/null |
		awk '$2 == "Debian" && $3 == "Debian" { print $1; exit }'
}

make_tree() {
	local sum
	sum=$(packages toolchain | sum_of)
	stamp_is tree "$sum" && return
	rm -rf "$tree.new" "$tree" "$VNR_CACHE/stamps"
	step "make the Debian tree with the toolchain" bootstrap_tree
	mv "$tree.new" "$tree"
	stamp tree "$sum"
}

bootstrap_tree() {
	local from list
	from=$(mirror)
	list=$(packages toolchain | paste -sd,)
	# Without a mirror mmdebstrap uses its own default.
	mmdebstrap --variant=apt --include="$list" \
		--hook-dir=/usr/share/mmdebstrap/hooks/maybe-merged-usr \
		"$suite" "$tree.new" ${from:+"$from"}
	add_sources "$tree.new"
	share_trust "$tree.new"
}

# add_sources TREE: adds the backports, from the same mirror.
add_sources() {
	local uri
	uri=$(awk '$1 == "deb" && $3 !~ /security/ { print ($2 ~ /^\[/) ? $3 : $2; exit }' \
		"$1/etc/apt/sources.list")
	[ -n "$uri" ] || die "no source in the new tree"
	printf 'deb %s %s main\n' "$uri" "$suite" "$uri" "$suite-updates" "$uri" "$suite-backports" \
		>"$1/etc/apt/sources.list"
	printf 'APT::Install-Recommends "false";\nAPT::Sandbox::User "root";\n' \
		>"$1/etc/apt/apt.conf.d/90vhost-net-rs"
}

# share_trust TREE: copies the host's name servers and certificate authorities.
share_trust() {
	cp -L /etc/resolv.conf /etc/hosts "$1/etc/"
	if [ -r /etc/ssl/certs/ca-certificates.crt ]; then
		cp -L /etc/ssl/certs/ca-certificates.crt "$1/etc/ssl/certs/ca-certificates.crt"
	fi
	apt-config dump 2>/dev/null | grep -i '^Acquire::https\?::Proxy ' \
		>"$1/etc/apt/apt.conf.d/91proxy" || true
}

install_machine() {
	share_trust "$tree"
	local names
	mapfile -t names < <(packages machine)
	in_tree env DEBIAN_FRONTEND=noninteractive apt-get -qy install "${names[@]}"
	share_trust "$tree"
	stamp machine "$(packages machine | sum_of)"
}
