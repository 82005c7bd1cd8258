// SPDX-License-Identifier: GPL-2.0
/*
 * Linked into a module that is built for coverage: every basic block calls this function,
 * in any context, which records the block. The records are read from outside, by the name
 * of the array.
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
