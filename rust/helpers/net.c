// SPDX-License-Identifier: GPL-2.0

#include "vhost_net_rs.h"

int vnr_sock_sendmsg(struct socket *sock, struct msghdr *msg, size_t len)
{
	return sock->ops->sendmsg(sock, msg, len);
}

int vnr_sock_recvmsg(struct socket *sock, struct msghdr *msg, size_t len,
		     int flags)
{
	return sock->ops->recvmsg(sock, msg, len, flags);
}

int vnr_sock_family(struct socket *sock)
{
	return sock->sk->sk_family;
}

int vnr_sock_type(struct socket *sock)
{
	return sock->sk->sk_type;
}

int vnr_sock_sndbuf(struct socket *sock)
{
	return READ_ONCE(sock->sk->sk_sndbuf);
}

bool vnr_sock_xdp(struct socket *sock)
{
	return sock_flag(sock->sk, SOCK_XDP);
}

void vnr_sock_queue_lock(struct socket *sock, unsigned long *flags)
{
	spin_lock_irqsave(&sock->sk->sk_receive_queue.lock, *flags);
}

void vnr_sock_queue_unlock(struct socket *sock, unsigned long flags)
{
	spin_unlock_irqrestore(&sock->sk->sk_receive_queue.lock, flags);
}

struct sk_buff *vnr_sock_queue_peek(struct socket *sock)
{
	return skb_peek(&sock->sk->sk_receive_queue);
}

int vnr_skb_len_with_tag(struct sk_buff *skb)
{
	return __skb_array_len_with_tag(skb);
}

bool vnr_skb_vlan_tag_present(struct sk_buff *skb)
{
	return skb_vlan_tag_present(skb);
}

u16 vnr_skb_vlan_proto(struct sk_buff *skb)
{
	return be16_to_cpu(skb->vlan_proto);
}

u16 vnr_skb_vlan_tci(struct sk_buff *skb)
{
	return skb_vlan_tag_get(skb);
}

void vnr_ptr_ring_lock(struct ptr_ring *ring)
{
	spin_lock(&ring->consumer_lock);
}

void vnr_ptr_ring_unlock(struct ptr_ring *ring)
{
	spin_unlock(&ring->consumer_lock);
}

int vnr_ptr_ring_consume_batched(struct ptr_ring *ring, void **array, int n)
{
	return __ptr_ring_consume_batched(ring, array, n);
}

void vnr_ptr_ring_unconsume(struct ptr_ring *ring, void **array, int n,
			    void (*destroy)(void *))
{
	ptr_ring_unconsume(ring, array, n, destroy);
}

u32 vnr_tun_xdp_frame_len(void *ptr)
{
	return tun_ptr_to_xdp(ptr)->len;
}
