# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# In the test machine: waiting, without a process, of which each takes a third of a
# second where the processor is emulated.

# slow: whether the kernel looks for mistakes, and takes several times as long for it.
slow() { case $(uname -r) in *-debug | *-kcsan) ;; *) false ;; esac; }

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
