# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Kernels that are built here, from Debian's source and the fragments in scripts/kernel,
# with configurations that no distribution ships. KASAN with Rust needs clang.
# shellcheck disable=SC2154 # from common.sh

# build_kernel: builds KERNEL with its modules and installs it into the tree.
build_kernel() {
	local sum
	sum=$(kernel_fragments | cat - "$repo/scripts/lib/debug.sh" "$tree$(kernel_source)/Makefile" | sum_of)
	stamp_is "build-$KERNEL" "$sum" && return
	step "configure kernel $KERNEL" configure_kernel
	step "build kernel $KERNEL (a quarter of an hour on two processors)" kernel_make vmlinux modules
	step "install kernel $KERNEL into the tree" install_kernel
	stamp "build-$KERNEL" "$sum"
}

kernel_fragments() {
	cat "$repo/scripts/kernel/machine.config" "$repo/scripts/kernel/${KERNEL##*-}.config"
}

# An option of a fragment that Kconfig does not accept is an error. Otherwise nobody would
# notice that a check is disabled.
configure_kernel() {
	local build line name lost=0
	build=$tree$(kernel_build)
	mkdir -p "$build"
	kernel_fragments >"$build/wanted.config"
	kernel_make KCONFIG_ALLCONFIG="$(kernel_build)/wanted.config" allnoconfig
	while read -r line; do
		case $line in
		CONFIG_*)
			grep -qxF "$line" "$build/.config" && continue
			;;
		'# CONFIG_'*' is not set')
			name=${line#\# }
			grep -q "^${name%% *}=" "$build/.config" || continue
			;;
		*) continue ;;
		esac
		echo "not to be had: $line"
		lost=1
	done <"$build/wanted.config"
	[ "$lost" -eq 0 ]
}

install_kernel() {
	rm -rf "${tree:?}/lib/modules/$KERNEL"
	kernel_make DEPMOD=true modules_install
	rm -f "$tree/lib/modules/$KERNEL/build"
	in_tree depmod "$KERNEL"
	cp "$tree$(kernel_build)/vmlinux" "$tree/lib/modules/$KERNEL/vmlinuz.unsigned"
}
