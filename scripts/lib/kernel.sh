# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# The kernel: Debian's own packages, and a build tree that matches them.
# shellcheck disable=SC2154 # from common.sh

# pick_kernel: sets KERNEL to the newest of its series and flavour when it is not
# available.
pick_kernel() {
	local series flavour best
	in_tree apt-cache show "linux-headers-$KERNEL" >/dev/null 2>&1 && return
	series=$(source_version)
	flavour=$(printf '%s\n' "$KERNEL" | sed -E 's/^[^-]*-//')
	best=$(in_tree apt-cache search --names-only "^linux-headers-${series//./\\.}\\..*-$flavour\$" |
		awk '{print $1}' | sed "s/^linux-headers-//" |
		awk -v want="-$flavour" '{ rest = $0; sub(/^[^-]*/, "", rest); if (rest == want) print }' |
		sort -V | tail -n1)
	[ -n "$best" ] || die "no kernel $KERNEL, and none of series $series and flavour $flavour"
	say "WARNING: kernel $KERNEL is not to be had; taking $best instead"
	KERNEL=$best
}

# have_kernel: whether nothing has to be fetched for KERNEL.
have_kernel() {
	have_source || return
	built_here || stamp_is "kernel-$KERNEL" "$(kernel_sum)"
}

# fetch_kernel: installs image, modules and configuration into the tree.
fetch_kernel() {
	if stamp_is "kernel-$KERNEL" "$(kernel_sum)"; then
		return
	fi
	pick_kernel
	step "fetch kernel $KERNEL" download kernel linux-binary-unsigned-"$KERNEL" \
		linux-modules-"$KERNEL" linux-headers-"$KERNEL"
	step "unpack kernel $KERNEL" unpack_kernel
	stamp "kernel-$KERNEL" "$(kernel_sum)"
}

kernel_sum() {
	sum_of <"$repo/scripts/lib/kernel.sh"
}

# have_source: whether the source is that of KERNEL, or any of the series for a kernel
# that is built here.
have_source() {
	local source
	source=$tree$(kernel_source)
	[ -e "$source/.unpacked" ] || return
	built_here || grep -qx "SUBLEVEL = $(upstream | cut -d. -f3)" "$source/Makefile"
}

# upstream: prints the version of KERNEL without Debian's part.
upstream() {
	printf '%s\n' "${KERNEL%%[+-]*}"
}

# fetch_source: fetches the source from which the packages were built.
fetch_source() {
	have_source && return
	local package version
	package=linux-source-$(source_version)
	version=$(in_tree apt-cache madison "$package" |
		awk -v want="$(upstream)-" 'index($3, want) == 1 { print $3; exit }')
	step "fetch the kernel's source" download source "$package${version:+=$version}"
	step "unpack the kernel's source" unpack_source
}

# download DIRECTORY PACKAGE...: downloads packages into this directory of /srv/debs.
download() {
	local dir=/srv/debs/$1
	shift
	rm -rf "${tree:?}$dir"
	mkdir -p "$tree$dir"
	# shellcheck disable=SC2016 # the inner shell's
	in_tree sh -c 'cd "$1" && shift && exec apt-get -q download "$@"' sh "$dir" "$@"
}

unpack_kernel() {
	local modules=$tree/lib/modules/$KERNEL
	rm -rf "$tree/srv/unpack" "$modules"
	mkdir -p "$tree/srv/unpack" "$tree/lib/modules"
	local deb
	for deb in binary-unsigned modules headers; do
		dpkg-deb -x "$tree/srv/debs/kernel/linux-$deb-${KERNEL}"_*.deb "$tree/srv/unpack"
	done
	rm -rf "$tree$headers-$KERNEL"
	mv "$tree/srv/unpack/usr/src/linux-headers-$KERNEL" "$tree$headers-$KERNEL"
	mv "$tree/srv/unpack/usr/lib/modules/$KERNEL" "$modules"
	rm -f "$modules/build" "$modules/source"
	# The test machine's initramfs cannot load compressed modules.
	find "$modules" -name '*.ko.xz' -print0 | xargs -0 -r -P2 -n64 xz -d
	in_tree depmod "$KERNEL" 2>/dev/null
	rm -rf "$tree/srv/unpack" "$tree/srv/debs/kernel"
}

unpack_source() {
	local source
	source=$tree$(kernel_source)
	rm -rf "$source"
	dpkg-deb --fsys-tarfile "$tree/srv/debs/source/linux-source-$(source_version)"_*.deb |
		tar -xO "./usr/src/linux-source-$(source_version).tar.xz" |
		xz -dc -T0 | tar -x -C "$tree/srv"
	touch "$source/.unpacked"
	rm -rf "$tree/srv/debs/source"
}

# prepare_kernel: builds the Rust metadata that no package contains, from the same source,
# configuration and compilers. Every symbol hash must be the same. Otherwise no module
# that was built with it could be loaded.
prepare_kernel() {
	local sum
	sum=$(kernel_sum)
	stamp_is "build-$KERNEL" "$sum" && return
	step "build the kernel's Rust metadata" build_metadata
	step "compare it with the shipped kernel" compare_metadata
	stamp "build-$KERNEL" "$sum"
}

kernel_make() {
	in_tree make -C "$(kernel_source)" O="$(kernel_build)" -j"$(nproc)" \
		"$(compiler)" KERNELRELEASE="$KERNEL" "$@"
}

build_metadata() {
	local build
	build=$tree$(kernel_build)
	mkdir -p "$build"
	cp "$tree$headers-$KERNEL/.config" "$build/.config"
	kernel_make olddefconfig
	kernel_make prepare
	kernel_make modules_prepare
	cp "$tree$headers-$KERNEL/Module.symvers" "$build/Module.symvers"
}

# Every Rust symbol that the shipped kernel exports must be exported by the kernel that
# was built: the symbol hashes depend on compiler, flags and source.
compare_metadata() {
	local shipped built missing
	shipped=$(mktemp) built=$(mktemp)
	awk '$3 == "vmlinux" && $2 ~ /^_R/ { print $2 }' \
		"$tree$headers-$KERNEL/Module.symvers" | sort -u >"$shipped"
	cat "$tree$(kernel_build)"/rust/exports_*_generated.h |
		sed -nE 's/.*EXPORT_SYMBOL_RUST_GPL\(([^)]*)\).*/\1/p' | sort -u >"$built"
	missing=$(comm -23 "$shipped" "$built" | wc -l)
	echo "$(wc -l <"$shipped") shipped Rust symbols, $missing of them not built"
	[ -s "$shipped" ] && [ "$missing" -eq 0 ]
}
