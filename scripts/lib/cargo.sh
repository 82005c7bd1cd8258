# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# shellcheck disable=SC2154 # from common.sh

# tools_cargo ARGUMENT...: cargo of the tree, on the workspace of the tools.
tools_cargo() {
	sync_sources
	in_tree env CARGO_HOME=/srv/cargo CARGO_TARGET_DIR="$target" \
		sh -c 'cd "$1"; shift; exec cargo "$@"' cargo "$srcdir/tools" "$@"
}
