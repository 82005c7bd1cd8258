// SPDX-License-Identifier: GPL-2.0

#include "vhost_net_rs.h"

struct page *vnr_virt_to_page(void *addr)
{
	return virt_to_page(addr);
}

unsigned long vnr_get_free_pages(u32 gfp, u32 order)
{
	return __get_free_pages((__force gfp_t)gfp, order);
}

int vnr_page_ref_count(void *addr)
{
	return page_ref_count(virt_to_page(addr));
}

void vnr_page_ref_add(void *addr, int count)
{
	page_ref_add(virt_to_page(addr), count);
}

void vnr_page_drop(void *addr, u32 count)
{
	__page_frag_cache_drain(virt_to_page(addr), count);
}
