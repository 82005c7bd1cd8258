# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# How the test machine is started, and which lines of its kernel log are reports.
# shellcheck disable=SC2154 # from common.sh

# accelerator: prints kvm or tcg. Hardware virtualisation is used if it can run a stock
# kernel. Only a trial shows that: the existence of /dev/kvm does not. The result is kept
# until the host boots again.
accelerator() {
	local known
	known=$VNR_CACHE/accelerator-$(cat /proc/sys/kernel/random/boot_id)
	if [ ! -e "$known" ]; then
		if [ -c /dev/kvm ] && kvm_works; then
			echo kvm >"$known"
		else
			echo tcg >"$known"
		fi
	fi
	cat "$known"
}

# kernel_options: the options of virtme-ng for KERNEL, one word in each line.
kernel_options() {
	built_here || return 0
	# A kernel that is built here supports only 9p as a file system of the host, and
	# only machines with PCI. With virtiofs, virtiofsd writes to the machine's memory
	# without QEMU noticing, and an emulated processor executes stale translations; a
	# stock kernel supports only virtiofs. 9p may cache, since nobody changes the
	# files during a run. Without block devices the kernel does not look for a root
	# file system by itself.
	printf '%s\n' --disable-microvm --force-9p -a root=/dev/root \
		-a rootflags=version=9p2000.L,trans=virtio,access=any,cache=loose,msize=1048576
}

kvm_works() {
	local options
	mapfile -t options < <(kernel_options)
	say "trying hardware virtualisation ..."
	# The command line must not contain the word that is searched for.
	on_terminal timeout --foreground 30 "$repo/scripts/lib/in-tree" "$tree" \
		vng "${options[@]}" -r "/lib/modules/$KERNEL/vmlinuz.unsigned" --cpus 1 -m 1G \
		--exec 'echo vnr-kvm"-usable"' | grep -q vnr-kvm-usable
}

# kernel_reports LOG: prints the reports in the log; fails when there are none.
kernel_reports() {
	not_our_doing "$1" | grep -nF -A40 -f <(grep -v '^#' "$repo/scripts/lib/reports")
}

# not_our_doing LOG: prints the log without two kinds of report. An out-of-memory kill in
# a control group is the result of the test that exceeds the limit. A data race in which
# neither access belongs to the module, or to a function that it called, is the stock
# kernel's. Either is kept when another report is inside it.
not_our_doing() {
	awk '/vhost-selftests invoked oom-killer/ && end == "" { end = "Memory cgroup out of memory: Killed process"; began = NR }
		/BUG: KCSAN: / && end == "" { end = "=========="; depth = 0; race = began = NR }
		end == "" { print; next }
		{ held = held $0 "\n"; depth++ }
		/ (to|of|in) 0x.* by (task|interrupt)/ { depth = 0 }
		race && depth <= 2 && /\[vhost_net/ { keep = 1 }
		NR > began && /WARNING: |BUG: |Oops|unreferenced object|unregister_netdevice: waiting/ { keep = 1 }
		$0 ~ end { if (keep) printf "%s", held; end = held = ""; race = keep = 0 }
		END { printf "%s", held }' "$1"
}

# stock_races LOG: prints the number of data races of the stock kernel.
stock_races() {
	local all ours
	all=$(grep -c 'BUG: KCSAN: ' "$1" || true)
	ours=$(not_our_doing "$1" | grep -c 'BUG: KCSAN: ' || true)
	echo $((all - ours))
}
