# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Machines with a clock that counts instructions.
# shellcheck disable=SC2154 # from common.sh

# The kinds of processor: with fast string instructions, each step of which counts as one
# instruction, and without, where the kernel copies eight bytes with each instruction.
processors=(fast plain)

processor() {
	case $1 in
	fast) echo max ;;
	plain) echo max,-erms,-fsrm ;;
	*) die "no processor $1; there are ${processors[*]}" ;;
	esac
}

# count_with PROCESSOR: sets counts to the options of scripts/vm for such a machine.
count_with() {
	local kind
	kind=$(processor "$1")
	counts=(-e -c 1 -q "-cpu $kind" -q "-icount shift=0,sleep=off")
}

# counting PROCESSOR NAME SUITE [ARGUMENT]...: boots such a machine and runs
# scripts/suites/SUITE in it, with the module at VNR_MODULE in the tree, if this is set.
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
