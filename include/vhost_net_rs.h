/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The C functions that the Rust code calls: exported ones and their types from
 * the kernel's headers, and shims for inline functions and macros. The shims
 * include this file and bindgen reads it, so each prototype is declared once.
 *
 * A shim consists of one call and has no logic.
 */
#ifndef _VHOST_NET_RS_H
#define _VHOST_NET_RS_H

#include <linux/cgroup.h>
#include <linux/eventfd.h>
#include <linux/file.h>
#include <linux/gfp.h>
#include <linux/if_tap.h>
#include <linux/if_tun.h>
#include <linux/if_vlan.h>
#include <linux/kcov.h>
#include <linux/kthread.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/mmu_context.h>
#include <linux/net.h>
#include <linux/nospec.h>
#include <linux/page_ref.h>
#include <linux/poll.h>
#include <linux/ptr_ring.h>
#include <linux/sched/signal.h>
#include <linux/sched/vhost_task.h>
#include <linux/skb_array.h>
#include <linux/skbuff.h>
#include <linux/uaccess.h>
#include <linux/uio.h>
#include <linux/wait.h>

#include <net/sock.h>
#include <net/xdp.h>

/* Constants that bindgen cannot evaluate as macros. */
enum {
	VNR_SHARED_INFO_SIZE = SKB_DATA_ALIGN(sizeof(struct skb_shared_info)),
	/* The value of NET_SKB_PAD, which is not a constant expression. */
	VNR_RX_PAD = NET_IP_ALIGN + MAX(32, L1_CACHE_BYTES),
	VNR_XDP_HEADROOM = XDP_PACKET_HEADROOM,
	VNR_CACHE_BYTES = SMP_CACHE_BYTES,
	VNR_PAGE_SIZE = PAGE_SIZE,
	VNR_MAX_SKB_FRAGS = MAX_SKB_FRAGS,
	/* Fail rather than reclaim memory, or use reserves, for a page. */
	VNR_GFP_PACKETS = (__force u32)((GFP_KERNEL & ~__GFP_DIRECT_RECLAIM) |
					__GFP_COMP | __GFP_NOWARN |
					__GFP_NORETRY | __GFP_NOMEMALLOC),
	VNR_GFP_ACCOUNT = (__force u32)__GFP_ACCOUNT,
	VNR_TUN_MSG_UBUF = TUN_MSG_UBUF,
	VNR_TUN_MSG_PTR = TUN_MSG_PTR,
	VNR_TUN_XDP_FLAG = TUN_XDP_FLAG,
	VNR_TUNGETFILTER = TUNGETFILTER,
	VNR_AF_PACKET = AF_PACKET,
	VNR_SOCK_RAW = SOCK_RAW,
	VNR_MSG_DONTWAIT = MSG_DONTWAIT,
	VNR_MSG_TRUNC = MSG_TRUNC,
	VNR_MSG_MORE = MSG_MORE,
	VNR_VLAN_HLEN = VLAN_HLEN,
	VNR_TASK_COMM_LEN = TASK_COMM_LEN,
	VNR_TASK_INTERRUPTIBLE = TASK_INTERRUPTIBLE,
	VNR_TASK_RUNNING = TASK_RUNNING,
	VNR_VHOST_NET_MINOR = VHOST_NET_MINOR,
};

#define VNR_NODE_LEN 32

/* rust/helpers/param.c */
extern char vnr_node[VNR_NODE_LEN];
extern ushort vnr_max_mem_regions;
extern int vnr_max_iotlb_entries;
extern bool vnr_fork_from_owner_default;
extern bool vnr_worker_per_queue;

/* rust/helpers/file.c */
long vnr_file_ioctl(struct file *file, unsigned int cmd, unsigned long arg);
__poll_t vnr_vfs_poll(struct file *file, struct poll_table_struct *pt);
void vnr_init_waitqueue_func_entry(struct wait_queue_entry *entry,
				   wait_queue_func_t func);
__poll_t vnr_key_to_poll(void *key);

#ifdef CONFIG_KCOV
/* rust/helpers/kcov.c */
u64 vnr_kcov_common_handle(void);
void vnr_kcov_remote_start(u64 handle);
void vnr_kcov_remote_stop(void);
#endif

/* rust/helpers/net.c */
int vnr_sock_sendmsg(struct socket *sock, struct msghdr *msg, size_t len);
int vnr_sock_recvmsg(struct socket *sock, struct msghdr *msg, size_t len,
		     int flags);
int vnr_sock_family(struct socket *sock);
int vnr_sock_type(struct socket *sock);
int vnr_sock_sndbuf(struct socket *sock);
bool vnr_sock_xdp(struct socket *sock);
void vnr_sock_queue_lock(struct socket *sock, unsigned long *flags);
void vnr_sock_queue_unlock(struct socket *sock, unsigned long flags);
struct sk_buff *vnr_sock_queue_peek(struct socket *sock);
int vnr_skb_len_with_tag(struct sk_buff *skb);
bool vnr_skb_vlan_tag_present(struct sk_buff *skb);
u16 vnr_skb_vlan_proto(struct sk_buff *skb);
u16 vnr_skb_vlan_tci(struct sk_buff *skb);
void vnr_ptr_ring_lock(struct ptr_ring *ring);
void vnr_ptr_ring_unlock(struct ptr_ring *ring);
int vnr_ptr_ring_consume_batched(struct ptr_ring *ring, void **array, int n);
void vnr_ptr_ring_unconsume(struct ptr_ring *ring, void **array, int n,
			    void (*destroy)(void *));
u32 vnr_tun_xdp_frame_len(void *ptr);

/* rust/helpers/page.c */
struct page *vnr_virt_to_page(void *addr);
unsigned long vnr_get_free_pages(u32 gfp, u32 order);
int vnr_page_ref_count(void *addr);
void vnr_page_ref_add(void *addr, int count);
void vnr_page_drop(void *addr, u32 count);

/* rust/helpers/sched.c */
void vnr_set_current_state(int state);
void vnr_finish_state(int state);
void vnr_cond_resched(void);
bool vnr_need_resched(void);
void vnr_set_current_comm(const char *name);
int vnr_task_pid_vnr(struct task_struct *task);
struct task_struct *vnr_get_task_struct(struct task_struct *task);
void vnr_put_task_struct(struct task_struct *task);

/* rust/helpers/uaccess.c */
int vnr_get_user16(u16 *value, const u16 __user *addr);
int vnr_put_user16(u16 value, u16 __user *addr);
int vnr_set_user_bits(u32 __user *word, u32 bits);
unsigned long vnr_clear_user(void __user *to, unsigned long n);
bool vnr_access_ok(unsigned long addr, unsigned long len);
unsigned long vnr_array_index_nospec(unsigned long index, unsigned long size);

#endif /* _VHOST_NET_RS_H */
