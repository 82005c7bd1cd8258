# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# In the test machine: which kernel it has, and waiting, without a process, of which each
# takes a third of a second where the processor is emulated.

# looks_for KIND: whether that is what the kernel was built for: mistakes (debug) or data
# races (kcsan).
looks_for() { [[ $(</proc/sys/kernel/osrelease) == *-"$1" ]]; }

# slow: whether it looks for anything, and takes several times as long for it.
slow() { looks_for debug || looks_for kcsan; }

exec {never}<> <(:)

# pause SECONDS
pause() { read -rt "$1" _ <&"$never" || :; }

# until_so SECONDS PID COMMAND...: fails when time is over, or the process is.
until_so() {
	local end=$((SECONDS + $1)) pid=$2
	shift 2
	until "$@"; do
		kill -0 "$pid" 2>/dev/null || return
		[ $SECONDS -lt $end ] || return
		pause 0.2
	done
}
