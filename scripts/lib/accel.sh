# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# How the test machine is run, and what its log may not say.
# shellcheck disable=SC2154 # from common.sh

# accelerator: kvm or tcg. Hardware virtualisation is used where it
# can run a stock kernel, which only trying shows: the device file proves nothing.
# The answer is kept until the host is booted anew.
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

# kernel_options: what KERNEL needs of virtme-ng, a word in each line.
kernel_options() {
	built_here || return 0
	# Such a kernel knows no other file system of a host, and no machine without PCI. Where
	# the processor is emulated, virtiofsd would write to the machine's memory past QEMU,
	# which goes on running what it has translated of the page before; a stock kernel has
	# nothing else. What 9p caches, nobody changes while it runs. Without block devices the
	# kernel asks for no root by itself.
	printf '%s\n' --disable-microvm --force-9p -a root=/dev/root \
		-a rootflags=version=9p2000.L,trans=virtio,access=any,cache=loose,msize=1048576
}

kvm_works() {
	local options
	mapfile -t options < <(kernel_options)
	say "trying hardware virtualisation ..."
	# What is looked for is not among the words of the command line.
	on_terminal timeout --foreground 30 "$repo/scripts/lib/in-tree" "$tree" \
		vng "${options[@]}" -r "/lib/modules/$KERNEL/vmlinuz.unsigned" --cpus 1 -m 1G \
		--exec 'echo vnr-kvm"-usable"' | grep -q vnr-kvm-usable
}

# kernel_reports LOG: prints what it finds of reports; fails when there is none.
kernel_reports() {
	not_our_doing "$1" | grep -nF -A40 -f <(grep -v '^#' "$repo/scripts/lib/reports")
}

# not_our_doing LOG: the log without two kinds of report. That the kernel kills a test
# which asks for more than its control group has is the test's own doing. And a data race
# in which neither access is the module's, or of a function that the module called, is the
# stock kernel's. Either is kept if something else was reported in the midst of it.
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

# stock_races LOG: how many data races are the stock kernel's own.
stock_races() {
	local all ours
	all=$(grep -c 'BUG: KCSAN: ' "$1" || true)
	ours=$(not_our_doing "$1" | grep -c 'BUG: KCSAN: ' || true)
	echo $((all - ours))
}
