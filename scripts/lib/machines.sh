# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Runs machines and other parts of the tests in parallel, and sums up their results.
# shellcheck disable=SC2154 # from common.sh and tap.sh

logs=$VNR_CACHE/logs
broken=$logs/broken
machines=$logs/machines
mkdir -p "$logs"
rm -f "$broken" "$machines"

# part NAME COMMAND...: runs the command with its output in a log.
part() {
	local name=$1
	shift
	say "$name ..."
	if "$@" >"$logs/$name" 2>&1; then
		say "$name: has come to its end"
	else
		# A part can fail although all its cases have passed, by a report of the
		# machine's kernel.
		echo "$name" >>"$broken"
		say "$name: has failed"
	fi
}

# machine NAME SUITE OPTION...: boots a machine and runs scripts/suites/SUITE in it. SUITE
# may include arguments.
machine() {
	local name=$1 suite
	read -ra suite <<<"$2"
	shift 2
	echo "$name" >>"$machines"
	part "$name" "$repo/scripts/vm" "$@" "$name" "$srcdir/scripts/suites/${suite[0]}" "${suite[@]:1}"
}

# next COMMAND...: runs the command in the background as soon as fewer than $lanes
# commands run. A machine uses about one processor; with many more machines than
# processors, they exceed their time limits.
next() {
	while [ "$(jobs -rp | wc -l)" -ge "${lanes-2}" ]; do
		wait -n || true
	done
	"$@" &
}

# prepare: builds everything that machines need, for KERNEL.
prepare() {
	"$repo/scripts/setup"
	"$repo/scripts/build"
	step "build the tools" tools_cargo build --release --locked -p vhost-selftests
	step "build what else is tested with" "$repo/scripts/build-peers"
	step "prepare the guest" "$repo/scripts/guest/image"
}

# prepare_checked KIND: the same for the kernel of this KIND (debug, kcsan), which is
# slower. The guests use the stock kernel.
prepare_checked() {
	"$repo/scripts/setup"
	export STOCK=$KERNEL KERNEL
	KERNEL=$(source_version)-$1
	prepare
	export VNR_VM_TIMEOUT=${VNR_VM_TIMEOUT:-1800}
}

# count_debug NAME: counts the suites of scripts/suites/debug, which machine NAME has run.
count_debug() {
	local selftests=(ioctl dirty iotlb hostile lifecycle history recycle cycles)
	tap_count "$logs/$1" module "${selftests[@]/%/ (rust)}" "dpdk (rust)" "storm (rust)" removal
}

# count_reports: prints the number of kernel reports of each machine. A machine with a
# report has failed.
count_reports() {
	local name reports
	while read -r name; do
		reports=unknown
		if [ -e "$tree/srv/run/$name/reports" ]; then
			# Only matching lines: other lines are context.
			reports=$(grep -cE '^[0-9]+:' "$tree/srv/run/$name/reports" || true)
		fi
		printf 'machine %-20s reports of its kernel: %s\n' "$name" "$reports"
	done <"$machines"
}

# conclude: prints the parts that failed, and the line with all counts. A part that failed
# counts as a failure, whatever its cases are.
conclude() {
	local name
	if [ -e "$broken" ]; then
		while read -r name; do
			grep -v '^ok ' "$logs/$name" || true
		done <"$broken"
		[ "$failed" -gt 0 ] || failed=1
	fi
	count_reports
	say "logs: $logs"
	echo "$passed passed, $failed failed, $skipped skipped"
	[ "$failed" -eq 0 ]
}
