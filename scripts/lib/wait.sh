# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# In the test machine: the kind of its kernel, and waiting without starting processes, of
# which each takes a third of a second on an emulated processor.

# looks_for KIND: whether the kernel was built for debugging (debug) or data races
# (kcsan).
looks_for() { [[ $(</proc/sys/kernel/osrelease) == *-"$1" ]]; }

# slow: whether the kernel is one of these, which are several times slower.
slow() { looks_for debug || looks_for kcsan; }

exec {never}<> <(:)

# pause SECONDS
pause() { read -rt "$1" _ <&"$never" || :; }

# The seconds between two attempts of until_so.
tick=0.2

# until_so SECONDS PID COMMAND...: waits until the command succeeds. Fails when the time
# is over or the process has exited.
until_so() {
	local end=$((SECONDS + $1)) pid=$2
	shift 2
	until "$@"; do
		kill -0 "$pid" 2>/dev/null || return
		[ $SECONDS -lt $end ] || return
		pause $tick
	done
}
