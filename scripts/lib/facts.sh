# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# The versions that a measurement depends on.
# shellcheck disable=SC2154 # from common.sh

# of_module: the last commit that changed the module, and whether there are uncommitted
# changes.
of_module() {
	local files=(Kbuild Kconfig include rust) commit
	commit=$(git -C "$repo" log -1 --format=%h --abbrev=12 -- "${files[@]}")
	git -C "$repo" diff --quiet HEAD -- "${files[@]}" || commit+=", changed since"
	printf '%s\n' "$commit"
}

# of_qemu: the version of QEMU.
of_qemu() { in_tree qemu-system-x86_64 --version | sed -n 's/.* version \([0-9.]*\).*/\1/p'; }
