# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Machines whose clock counts instructions.
# shellcheck disable=SC2154 # from common.sh

# The kinds of processor: one with fast string instructions, of which each step counts as
# an instruction, and one without, for which the kernel copies eight bytes at a time.
processors=(fast plain)

processor() {
	case $1 in
	fast) echo max ;;
	plain) echo max,-erms,-fsrm ;;
	*) die "no processor $1; there are ${processors[*]}" ;;
	esac
}

# count_with PROCESSOR: sets counts, what such a machine needs of scripts/vm.
count_with() {
	local kind
	kind=$(processor "$1")
	counts=(-e -c 1 -q "-cpu $kind" -q "-icount shift=0,sleep=off")
}

# counting PROCESSOR NAME SUITE [ARGUMENT]...: boots one and runs scripts/suites/SUITE in it,
# with the module at VNR_MODULE in the tree, if that is set.
counting() {
	local counts name=$2 suite=$3
	count_with "$1"
	shift 3
	local words=("$srcdir/scripts/suites/$suite" "$@")
	if [ -n "${VNR_MODULE:-}" ]; then
		[ -e "$tree$VNR_MODULE" ] || die "no module $VNR_MODULE in $tree"
		words=(env "VNR_MODULE=$VNR_MODULE" "${words[@]}")
	fi
	"$repo/scripts/vm" "${counts[@]}" "$name" "${words[@]}"
}
