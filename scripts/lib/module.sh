# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# A directory of the tree in which the module is built, in one of its variants.
# shellcheck disable=SC2154 # from common.sh

# take_module DIR: the module's files and nothing else into that directory of the tree,
# where nobody else builds until this script ends. What was built there stays, and is
# made again only where the files have changed: no other clone has times of its own.
take_module() {
	local build=$tree$1
	mkdir -p "$build"
	exec 8>"$build.lock"
	flock 8
	rsync -rlp --checksum --delete --exclude '*.o' --exclude '*.ko' --exclude '*.mod*' \
		--exclude '.*.cmd' --exclude bindings_generated.rs --exclude Module.symvers \
		--exclude modules.order "$repo"/{Kbuild,Kconfig,include,rust} "$build/"
}

# make_module DIR OPTION...: builds it there, for KERNEL.
make_module() {
	local dir=$1
	shift
	in_tree make -C "$(kernel_build)" M="$dir" KERNELRELEASE="$KERNEL" "$(compiler)" "$@"
}

# watched_accesses: flags by which rustc tells KCSAN of each access of the module, as
# clang does for C. For itself it would only do so with a target that names the sanitizer.
watched_accesses() {
	local passed="-Cpasses=tsan" option
	for option in force-attribute=sanitize_thread tsan-distinguish-volatile=1 \
		tsan-compound-read-before-write=1; do
		passed+=" -Cllvm-args=-$option"
	done
	echo "$passed"
}
