// SPDX-License-Identifier: GPL-2.0

#include "vhost_net_rs.h"

long vnr_file_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	return file->f_op->unlocked_ioctl(file, cmd, arg);
}

__poll_t vnr_vfs_poll(struct file *file, struct poll_table_struct *pt)
{
	return vfs_poll(file, pt);
}

void vnr_init_waitqueue_func_entry(struct wait_queue_entry *entry,
				   wait_queue_func_t func)
{
	init_waitqueue_func_entry(entry, func);
}

__poll_t vnr_key_to_poll(void *key)
{
	return key_to_poll(key);
}
