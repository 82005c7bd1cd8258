// SPDX-License-Identifier: GPL-2.0

#include <linux/moduleparam.h>

#include "vhost_net_rs.h"

/* The module! macro supports neither string parameters nor sysfs. */
char vnr_node[VNR_NODE_LEN] = "vhost-net";
module_param_string(node, vnr_node, sizeof(vnr_node), 0444);
MODULE_PARM_DESC(node, "Name of the device node under /dev (default: vhost-net)");

/*
 * The default is the maximum, since clients read the parameter of the C module
 * vhost, whose value may be larger than a default chosen here.
 */
ushort vnr_max_mem_regions = USHRT_MAX;
module_param_named(max_mem_regions, vnr_max_mem_regions, ushort, 0444);
MODULE_PARM_DESC(max_mem_regions,
		 "Most regions of guest memory, at least 64 (default: 65535)");

int vnr_max_iotlb_entries = 2048;
module_param_named(max_iotlb_entries, vnr_max_iotlb_entries, int, 0444);
MODULE_PARM_DESC(max_iotlb_entries,
		 "Most translations of a device IOTLB (default: 2048)");

bool vnr_fork_from_owner_default = true;
module_param_named(fork_from_owner_default, vnr_fork_from_owner_default, bool,
		   0444);
MODULE_PARM_DESC(fork_from_owner_default,
		 "Workers are threads of the owner, not kernel threads (default: Y)");

bool vnr_worker_per_queue;
module_param_named(worker_per_queue, vnr_worker_per_queue, bool, 0444);
MODULE_PARM_DESC(worker_per_queue,
		 "Each queue of a device gets a worker of its own (default: N)");
