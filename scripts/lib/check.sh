# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# In the test machine: the cases of a suite, as TAP, and functions for loading the module
# that several suites use.

# suite NAME: begins a suite.
suite() {
	count=0 failed=0
	echo "TAP version 13"
	echo "# suite $1"
}

# check NAME COMMAND...: a case that passes if the command succeeds; otherwise shows its
# output.
check() {
	local name=$1
	shift
	count=$((count + 1))
	if "$@" >/tmp/check.log 2>&1; then
		echo "ok $count - $name"
	else
		failed=1
		echo "not ok $count - $name"
		sed 's/^/# /' /tmp/check.log
	fi
}

# plan: prints the plan; fails when a case has failed.
plan() {
	echo "1..$count"
	return $failed
}

# The insmod and rmmod of kmod load a cryptographic library first, and this rmmod checks
# by itself whether the module is in use.
insmod() { /bin/busybox insmod "$@"; }
rmmod() { /bin/busybox rmmod "$@"; }

# loaded: whether our module is loaded.
loaded() {
	local all
	all=$(</proc/modules)
	[[ $'\n'$all == *$'\nvhost_net_rs '* ]]
}

# no_worker: whether no thread has the name of a worker.
no_worker() {
	local file name
	for file in /proc/[0-9]*/task/*/comm; do
		# The task may have exited.
		{ read -r name <"$file"; } 2>/dev/null || continue
		[[ ! $name =~ ^vhost-[0-9]+$ ]] || return
	done
}
