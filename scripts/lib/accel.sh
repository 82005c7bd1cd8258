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

kvm_works() {
	say "trying hardware virtualisation ..."
	# What is looked for is not among the words of the command line.
	on_terminal timeout --foreground 30 "$repo/scripts/lib/in-tree" "$tree" \
		vng -r "/lib/modules/$KERNEL/vmlinuz.unsigned" --cpus 1 -m 1G \
		--exec 'echo vnr-kvm"-usable"' | grep -q vnr-kvm-usable
}

# kernel_reports LOG: prints what it finds of reports; fails when there is none. That
# the kernel kills a test which asks for more than its control group has is the test's
# own doing, and no report.
kernel_reports() {
	awk '/vhost-selftests invoked oom-killer/ { hold = 1 }
		!hold { print; next }
		{ held = held $0 "\n" }
		/Memory cgroup out of memory: Killed process/ { hold = 0; held = "" }
		END { printf "%s", held }' "$1" |
		grep -nE -A20 'WARNING: |BUG: |Oops|Call Trace|KASAN|KCSAN|UBSAN|kmemleak: [1-9]|unreferenced object|rcu.*(stall|detected)|blocked for more than|possible (circular|recursive) locking|inconsistent lock state|suspicious RCU|general protection|refcount_t:|list_(add|del) corruption|rust_kernel: panicked|Objects remaining'
}
