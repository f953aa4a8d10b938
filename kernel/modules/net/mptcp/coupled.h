/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the coupled congestion controls of MPTCP share: who the subflows of one
 * connection are, what share of its rate each has, and how a window follows.
 *
 * See coupled.c for the locking and kernel/README.md for the arithmetic.
 */
#ifndef _MPTCP_COUPLED_H
#define _MPTCP_COUPLED_H

#include <linux/list.h>
#include <linux/math64.h>
#include <linux/minmax.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/util_macros.h>
#include <net/tcp.h>

/* A subflow's share of the connection's rate: 1 is 2^30. */
#define COUPLED_SHARE_SHIFT	30

/* A change of a window: one packet is 2^40. */
#define COUPLED_STEP_SHIFT	40

/* Larger windows count as this one, which keeps all products in 64 bits. */
#define COUPLED_MAX_CWND	BIT(20)

struct coupled_group;

/* A subflow's private data (icsk_ca_priv). */
struct coupled_subflow {
	/* While it is in a group; protected by the group's lock. */
	struct list_head node;
	struct coupled_group *group;	/* NULL: an ordinary TCP connection */
	struct sock *sk;

	/* Of the subflow alone, protected by its socket lock. */
	s64 credit;		/* change of the window that is less than a packet */

	/* bytes_acked now and at the last losses, the latest first; written
	 * under the group's lock.
	 */
	u64 lost_at[3];

	/* What coupled_lock() saw last; protected by the group's lock. */
	u64 share;
	u64 run;		/* bytes: the longer of the last two loss intervals */
	u32 rtt;		/* 1/8 us */
	u32 cwnd;		/* packets; 0: does not count now */
};

/* The subflows of one connection that one algorithm controls. */
struct coupled_group {
	struct hlist_node hash;
	struct sock *conn;
	const struct tcp_congestion_ops *ops;
	spinlock_t lock;	/* below any socket lock; no socket lock below it */
	struct list_head subflows;
	unsigned int count;	/* how many of them count now */
};

/* Under the group's lock: the subflows that count now. */
#define coupled_for_each(path, group)					\
	list_for_each_entry(path, &(group)->subflows, node)		\
		for_each_if((path)->cwnd)

/* Return the change of a window per packet that is acknowledged. Called under
 * the group's lock, for a subflow that is not alone.
 */
typedef s64 (*coupled_step_fn)(const struct coupled_subflow *self);

static inline struct coupled_subflow *coupled_subflow(const struct sock *sk)
{
	return inet_csk_ca(sk);
}

/* Reno's own increase, 1/w. */
static inline u64 coupled_reno_step(const struct coupled_subflow *path)
{
	return div_u64(BIT_ULL(COUPLED_STEP_SHIFT), path->cwnd);
}

/* The increase that all three algorithms have in common:
 * (w / rtt^2) / (sum of w / rtt)^2, which is share^2 / w.
 */
static inline u64 coupled_linked_step(const struct coupled_subflow *path)
{
	u64 square = path->share * path->share;

	return div_u64(square >> (2 * COUPLED_SHARE_SHIFT - COUPLED_STEP_SHIFT),
		       path->cwnd);
}

void coupled_init(struct sock *sk);
void coupled_release(struct sock *sk);
struct coupled_subflow *coupled_lock(const struct sock *sk);
void coupled_unlock(struct coupled_subflow *self);
void coupled_cong_avoid(struct sock *sk, u32 acked, coupled_step_fn step);
void coupled_loss(struct sock *sk);
u32 coupled_undo_cwnd(struct sock *sk);
u32 coupled_reno_ssthresh(struct sock *sk);

#endif
