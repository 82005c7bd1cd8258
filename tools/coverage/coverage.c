// SPDX-License-Identifier: GPL-2.0
/*
 * Linked into a module that is built to tell which of its code has run: every block
 * calls this, whatever the context, and remembers that it was here. What is remembered
 * is read from outside, by name.
 */

#include <linux/instruction_pointer.h>
#include <linux/module.h>

u8 vnr_reached[1 << 20];

void __sanitizer_cov_trace_pc(void);

void notrace __sanitizer_cov_trace_pc(void)
{
	unsigned long at = _RET_IP_ - (unsigned long)THIS_MODULE->mem[MOD_TEXT].base;

	if (at < sizeof(vnr_reached))
		vnr_reached[at] = 1;
}
