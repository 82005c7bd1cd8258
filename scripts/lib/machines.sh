# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Machines that run suites, and what came of all of them.
# shellcheck disable=SC2154 # from common.sh and tap.sh

logs=$VNR_CACHE/logs
broken=$logs/broken
mkdir -p "$logs"
rm -f "$broken"

# machine NAME SUITE OPTION...: boots one and runs scripts/suites/SUITE in it, which may
# have arguments.
machine() {
	local name=$1 suite
	read -ra suite <<<"$2"
	shift 2
	say "machine $name ..."
	if "$repo/scripts/vm" "$@" "$name" "$srcdir/scripts/suites/${suite[0]}" "${suite[@]:1}" >"$logs/$name" 2>&1; then
		say "machine $name: has come to its end"
	else
		# Also when every case has passed: the kernel's log may say otherwise.
		echo "$name" >>"$broken"
		say "machine $name: has failed"
	fi
}

# prepare: everything that machines run, for KERNEL.
prepare() {
	"$repo/scripts/setup"
	"$repo/scripts/build"
	step "build the tools" tools_cargo build --release --locked -p vhost-selftests
	step "build what else is tested with" "$repo/scripts/build-peers"
	step "prepare the guest" "$repo/scripts/guest/image"
}

# conclude: prints what failed, and the line that counts. A machine that failed as a
# whole counts, whatever its cases say.
conclude() {
	local name
	if [ -e "$broken" ]; then
		while read -r name; do
			grep -v '^ok ' "$logs/$name" || true
		done <"$broken"
		[ "$failed" -gt 0 ] || failed=1
	fi
	say "logs: $logs"
	echo "$passed passed, $failed failed, $skipped skipped"
	[ "$failed" -eq 0 ]
}
