// SPDX-License-Identifier: GPL-2.0

#include <linux/moduleparam.h>

#include "vhost_net_rs.h"

/* The module! macro has no string parameters. */
char vnr_node[VNR_NODE_LEN] = "vhost-net";
module_param_string(node, vnr_node, sizeof(vnr_node), 0444);
MODULE_PARM_DESC(node, "Name of the device node under /dev (default: vhost-net)");
