# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# In the test machine: cases of a suite, as TAP.

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
