# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# In the test machine: cases of a suite, as TAP, and what several of them do with the
# module and ask of it.

# suite NAME: begins one.
suite() {
	count=0 failed=0
	echo "TAP version 13"
	echo "# suite $1"
}

# check NAME COMMAND...: a case that passes if the command does, and shows its output if not.
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

# plan: ends it.
plan() {
	echo "1..$count"
	return $failed
}

# kmod's would first be linked with a library of ciphers, and rmmod would ask by itself
# whether anybody has the module.
insmod() { /bin/busybox insmod "$@"; }
rmmod() { /bin/busybox rmmod "$@"; }

# loaded: whether our module is.
loaded() {
	local all
	all=$(</proc/modules)
	[[ $'\n'$all == *$'\nvhost_net_rs '* ]]
}

# no_worker: whether nobody's thread is named like a worker.
no_worker() {
	local file name
	for file in /proc/[0-9]*/task/*/comm; do
		# Whose it was may have gone.
		{ read -r name <"$file"; } 2>/dev/null || continue
		[[ ! $name =~ ^vhost-[0-9]+$ ]] || return
	done
}
