# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034
#
# Functions for all scripts: paths, progress messages, and running commands in the tree.
# To be sourced by a shell that exits on errors.

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
export repo

# The kernel to build for and to boot: any flavour of Debian's.
KERNEL=${KERNEL:-7.3.4+deb13-cloud-amd64}
# The place of trees, kernels and build output, outside the clone.
VNR_CACHE=${VNR_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/vhost-net-rs}

# The kernel that set-up has used instead, when this version was not available.
asked=$KERNEL
if [ -e "$VNR_CACHE/stamps/instead-of-$asked" ]; then
	KERNEL=$(cat "$VNR_CACHE/stamps/instead-of-$asked")
fi

suite=trixie
tree=$VNR_CACHE/tree-$suite
# Paths inside the tree.
headers=/srv/linux-headers
srcdir=/srv/src
moddir=${moddir:-/srv/module}
target=/srv/target

progress_started=$SECONDS

# say TEXT...: prints a line of progress, with the time since the script began.
say() {
	printf '[%4ds] %s\n' $((SECONDS - progress_started)) "$*" >&2
}

die() {
	printf 'error: %s\n' "$*" >&2
	exit 1
}

# step TEXT COMMAND...: runs the command and hides its output. Prints a line every half
# minute and the duration at the end. When the command fails, prints all of its output and
# exits.
step() {
	local text=$1 log start=$SECONDS status=0 ticker
	shift
	log=$(mktemp)
	say "$text ..."
	tick "$text" &
	ticker=$!
	# In a condition, set -e has no effect within a function.
	set +e
	(
		set -e
		"$@"
	) >"$log" 2>&1
	status=$?
	set -e
	kill "$ticker" 2>/dev/null || true
	wait "$ticker" 2>/dev/null || true
	if [ "$status" -ne 0 ]; then
		cat "$log" >&2
		rm -f "$log"
		die "$text: failed with status $status"
	fi
	rm -f "$log"
	say "$text: done in $((SECONDS - start)) s"
}

# tick TEXT: prints a line every half minute while this script runs. Starts no program
# that could outlive the script, and keeps no lock file open.
tick() {
	local never
	exec 8>&- 9>&-
	exec {never}<> <(:)
	until read -rt 30 _ <&"$never"; do
		kill -0 $$ 2>/dev/null || exit 0
		say "$1 ... still"
	done
}

# in_tree COMMAND...: runs it as root of the tree, with mounts that are removed at its
# end.
in_tree() {
	"$repo/scripts/lib/in-tree" "$tree" "$@"
}

# on_terminal COMMAND...: runs it on a terminal of its own, without input.
on_terminal() {
	# The words are quoted for bash, and script starts $SHELL.
	SHELL=$BASH script -qefc "$(printf '%q ' "$@")" /dev/null </dev/null 2>&1
}

# source_version: the part of KERNEL in the name of the source package.
source_version() {
	printf '%s\n' "$KERNEL" | sed -E 's/^([0-9]+\.[0-9]+).*/\1/'
}

kernel_source() {
	printf '/srv/linux-source-%s\n' "$(source_version)"
}

# built_here: whether scripts/kernel describes how to build KERNEL.
built_here() {
	[ -e "$repo/scripts/kernel/${KERNEL##*-}.config" ]
}

# compiler: the compiler of the kernel and the module, as an argument of make.
compiler() {
	if built_here; then
		echo LLVM=-19
	else
		echo CC=x86_64-linux-gnu-gcc-14
	fi
}

kernel_build() {
	printf '/srv/linux-build-%s\n' "$KERNEL"
}

# sync_sources: copies the clone into the tree, where it is built and run. An unchanged
# file keeps its time there, so that it is not built again after another clone was copied.
sync_sources() {
	mkdir -p "$tree$srcdir"
	rsync -rlp --delete --checksum --exclude /.git --exclude target "$repo/" "$tree$srcdir/"
}
