# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034
#
# What every script needs: where things are, how to say what goes on, and how to
# run something in the tree. Sourced with the shell set to stop on errors.

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
export repo

# The kernel that is built for and booted: any flavour of Debian's.
KERNEL=${KERNEL:-7.3.4+deb13-cloud-amd64}
# Where trees, kernels and build output are kept, outside the clone.
VNR_CACHE=${VNR_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/vhost-net-rs}

# What set-up has taken instead, when that version was not to be had.
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

# say TEXT...: a line of progress, with the time since the script began.
say() {
	printf '[%4ds] %s\n' $((SECONDS - progress_started)) "$*" >&2
}

die() {
	printf 'error: %s\n' "$*" >&2
	exit 1
}

# step TEXT COMMAND...: runs it quietly, up to its first failure; says every half
# minute that it still does, how long it took, or all of its output when it fails.
step() {
	local text=$1 log start=$SECONDS status=0 ticker
	shift
	log=$(mktemp)
	say "$text ..."
	tick "$text" &
	ticker=$!
	# In a condition a function would go on after a failure.
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

# tick TEXT: for as long as this script runs. Starts no program that outlives it, and
# holds no lock.
tick() {
	local never
	exec 8>&- 9>&-
	exec {never}<> <(:)
	until read -rt 30 _ <&"$never"; do
		kill -0 $$ 2>/dev/null || exit 0
		say "$1 ... still"
	done
}

# in_tree COMMAND...: runs it as root of the tree, with mounts that end with it.
in_tree() {
	"$repo/scripts/lib/in-tree" "$tree" "$@"
}

# on_terminal COMMAND...: runs it with a terminal of its own and no input.
on_terminal() {
	# The words are quoted for bash, and script asks SHELL.
	SHELL=$BASH script -qefc "$(printf '%q ' "$@")" /dev/null </dev/null 2>&1
}

# source_version: the part of KERNEL that names the source package.
source_version() {
	printf '%s\n' "$KERNEL" | sed -E 's/^([0-9]+\.[0-9]+).*/\1/'
}

kernel_source() {
	printf '/srv/linux-source-%s\n' "$(source_version)"
}

# built_here: whether KERNEL is one that scripts/kernel says how to build.
built_here() {
	[ -e "$repo/scripts/kernel/${KERNEL##*-}.config" ]
}

# compiler: of the kernel, and so of the module, as a word for make.
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

# sync_sources: brings the clone into the tree, where it is built and run. What has
# not changed keeps its time there, so that no other clone has it built again.
sync_sources() {
	mkdir -p "$tree$srcdir"
	rsync -rlp --delete --checksum --exclude /.git --exclude target "$repo/" "$tree$srcdir/"
}
