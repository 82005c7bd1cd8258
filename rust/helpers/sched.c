// SPDX-License-Identifier: GPL-2.0

#include "vhost_net_rs.h"

void vnr_set_current_state(int state)
{
	set_current_state(state);
}

void vnr_finish_state(int state)
{
	__set_current_state(state);
}

void vnr_cond_resched(void)
{
	cond_resched();
}

bool vnr_need_resched(void)
{
	return need_resched();
}

/* __set_task_comm() is not exported. */
void vnr_set_current_comm(const char *name)
{
	strscpy_pad(current->comm, name);
}

int vnr_task_pid_vnr(struct task_struct *task)
{
	return task_pid_vnr(task);
}

struct task_struct *vnr_get_task_struct(struct task_struct *task)
{
	return get_task_struct(task);
}

void vnr_put_task_struct(struct task_struct *task)
{
	put_task_struct(task);
}
