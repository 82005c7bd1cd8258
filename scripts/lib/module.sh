# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Directories of the tree in which variants of the module are built.
# shellcheck disable=SC2154 # from common.sh

# take_module DIR: copies the files of the module to this directory of the tree, and locks
# it until this script ends. Results of an earlier build stay, and are rebuilt only where
# the contents of files have changed.
take_module() {
	local build=$tree$1
	mkdir -p "$build"
	exec 8>"$build.lock"
	flock 8
	rsync -rlp --checksum --delete --exclude '*.o' --exclude '*.ko' --exclude '*.mod*' \
		--exclude '.*.cmd' --exclude bindings_generated.rs --exclude Module.symvers \
		--exclude modules.order "$repo"/{Kbuild,Kconfig,include,rust} "$build/"
}

# make_module DIR OPTION...: builds the module there, for KERNEL.
make_module() {
	local dir=$1
	shift
	in_tree make -C "$(kernel_build)" M="$dir" KERNELRELEASE="$KERNEL" "$(compiler)" "$@"
}

# watched_accesses: flags that make rustc instrument each access of the module for KCSAN,
# as clang does for C. rustc's own option requires a target that supports the sanitizer.
watched_accesses() {
	local passed="-Cpasses=tsan" option
	for option in force-attribute=sanitize_thread tsan-distinguish-volatile=1 \
		tsan-compound-read-before-write=1; do
		passed+=" -Cllvm-args=-$option"
	done
	echo "$passed"
}
