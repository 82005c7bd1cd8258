// SPDX-License-Identifier: GPL-2.0

#include "vhost_net_rs.h"

u64 vnr_kcov_common_handle(void)
{
	return kcov_common_handle().val;
}

void vnr_kcov_remote_start(u64 handle)
{
	kcov_remote_start_common((struct kcov_common_handle_id){ .val = handle });
}

void vnr_kcov_remote_stop(void)
{
	kcov_remote_stop();
}
