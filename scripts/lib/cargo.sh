# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# shellcheck disable=SC2154 # from common.sh

# libFuzzer from the compiler's package: compiling it takes a minute.
libfuzzer=/usr/lib/llvm-19/lib/clang/19/lib/linux/libclang_rt.fuzzer-x86_64.a

# tools_cargo ARGUMENT...: runs the tree's cargo on the workspace of the tools, with the
# caller's flags for the compiler, if any (rustflags).
tools_cargo() {
	sync_sources
	in_tree env CARGO_HOME=/srv/cargo CARGO_TARGET_DIR="$target" CUSTOM_LIBFUZZER_PATH=$libfuzzer \
		RUSTFLAGS="${rustflags-}" \
		sh -c 'cd "$1"; shift; exec cargo "$@"' cargo "$srcdir/tools" "$@"
}
