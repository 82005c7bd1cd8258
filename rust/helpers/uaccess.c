// SPDX-License-Identifier: GPL-2.0

#include <asm/futex.h>

#include "vhost_net_rs.h"

int vnr_get_user16(u16 *value, const u16 __user *addr)
{
	return get_user(*value, addr);
}

int vnr_put_user16(u16 value, u16 __user *addr)
{
	return put_user(value, addr);
}

int vnr_set_user_bits(u32 __user *word, u32 bits)
{
	int old;

	return arch_futex_atomic_op_inuser(FUTEX_OP_OR, bits, &old, word);
}

unsigned long vnr_clear_user(void __user *to, unsigned long n)
{
	return clear_user(to, n);
}

bool vnr_access_ok(unsigned long addr, unsigned long len)
{
	return access_ok((void __user *)addr, len);
}

unsigned long vnr_array_index_nospec(unsigned long index, unsigned long size)
{
	return array_index_nospec(index, size);
}
