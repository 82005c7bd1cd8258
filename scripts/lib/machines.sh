# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# What is run at the same time, mostly machines, and what came of all of it.
# shellcheck disable=SC2154 # from common.sh and tap.sh

logs=$VNR_CACHE/logs
broken=$logs/broken
machines=$logs/machines
mkdir -p "$logs"
rm -f "$broken" "$machines"

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
	echo "$name" >>"$machines"
	part "$name" "$repo/scripts/vm" "$@" "$name" "$srcdir/scripts/suites/${suite[0]}" "${suite[@]:1}"
}

# next COMMAND...: in the background, as soon as fewer than so many (lanes) run. A machine
# keeps about one processor busy; with many more of them than processors they run into
# their limits.
next() {
	while [ "$(jobs -rp | wc -l)" -ge "${lanes-2}" ]; do
		wait -n || true
	done
	"$@" &
}

# prepare: everything that machines run, for KERNEL.
prepare() {
	"$repo/scripts/setup"
	"$repo/scripts/build"
	step "build the tools" tools_cargo build --release --locked -p vhost-selftests
	step "build what else is tested with" "$repo/scripts/build-peers"
	step "prepare the guest" "$repo/scripts/guest/image"
}

# prepare_checked KIND: the same for the built kernel of that KIND (debug, kcsan), where
# everything takes longer. The guests stay stock.
prepare_checked() {
	"$repo/scripts/setup"
	export STOCK=$KERNEL KERNEL
	KERNEL=$(source_version)-$1
	prepare
	export VNR_VM_TIMEOUT=${VNR_VM_TIMEOUT:-1800}
}

# count_debug NAME: the suites of scripts/suites/debug, which machine NAME has run.
count_debug() {
	local selftests=(ioctl hostile lifecycle history recycle cycles)
	tap_count "$logs/$1" module "${selftests[@]/%/ (rust)}" "dpdk (rust)" "storm (rust)" removal
}

# count_reports: of the kernel of each machine. A machine with one has failed as a whole.
count_reports() {
	local name reports
	while read -r name; do
		reports=unknown
		if [ -e "$tree/srv/run/$name/reports" ]; then
			# Those lines; others are what stands behind them.
			reports=$(grep -cE '^[0-9]+:' "$tree/srv/run/$name/reports" || true)
		fi
		printf 'machine %-20s reports of its kernel: %s\n' "$name" "$reports"
	done <"$machines"
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
	count_reports
	say "logs: $logs"
	echo "$passed passed, $failed failed, $skipped skipped"
	[ "$failed" -eq 0 ]
}
