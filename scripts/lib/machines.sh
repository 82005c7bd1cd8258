# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# What is run at the same time, mostly machines, and what came of all of it.
# shellcheck disable=SC2154 # from common.sh and tap.sh

logs=$VNR_CACHE/logs
broken=$logs/broken
mkdir -p "$logs"
rm -f "$broken"

# part NAME COMMAND...: what it prints goes to a log.
part() {
	local name=$1
	shift
	say "$name ..."
	if "$@" >"$logs/$name" 2>&1; then
		say "$name: has come to its end"
	else
		# Also when every case has passed: a machine's kernel may say otherwise.
		echo "$name" >>"$broken"
		say "$name: has failed"
	fi
}

# machine NAME SUITE OPTION...: boots one and runs scripts/suites/SUITE in it, which may
# have arguments.
machine() {
	local name=$1 suite
	read -ra suite <<<"$2"
	shift 2
	part "$name" "$repo/scripts/vm" "$@" "$name" "$srcdir/scripts/suites/${suite[0]}" "${suite[@]:1}"
}

# prepare: everything that machines run, for KERNEL.
prepare() {
	"$repo/scripts/setup"
	"$repo/scripts/build"
	step "build the tools" tools_cargo build --release --locked -p vhost-selftests
	step "build what else is tested with" "$repo/scripts/build-peers"
	step "prepare the guest" "$repo/scripts/guest/image"
}

# conclude: prints what failed, and the line that counts. What failed as a
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
