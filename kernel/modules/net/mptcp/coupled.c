// SPDX-License-Identifier: GPL-2.0
/*
 * The common part of the coupled congestion controls of MPTCP.
 *
 * A subflow's window depends on those of its siblings, but cong_avoid() runs
 * with the lock of its own subflow only, often in softirq context. The list of
 * subflows in the mptcp_sock is protected by that socket's lock, which cannot
 * be had here: it may be owned by a process that waits for our subflow. So this
 * file has a list of its own: the subflows of one connection that run the same
 * algorithm form a group, with a spinlock.
 *
 * - init() and release(), which the stack calls in pairs under the subflow's
 *   lock, put the subflow into its group and take it out. Groups are found in a
 *   hash table by the mptcp_sock, on which a group holds a reference, so that
 *   its address stays unique.
 * - A group ends with its last member. Whoever uses it is a member itself, and
 *   cannot be released at the same time, because both need its socket lock. So
 *   a group needs no reference count.
 * - Whoever holds the group's lock can read the members' sockets: a socket is
 *   not freed before release() has taken it out, which needs the same lock.
 *   Their subflow contexts are freed after a grace period.
 * - The group's lock is taken below one socket lock, and no socket lock below
 *   it. The members' windows and round trip times are read without their locks
 *   and may be those before or after an acknowledgment that is being handled
 *   elsewhere, which is as good.
 *
 * A plain TCP socket has no group, and neither has a subflow for which there was
 * no memory; both behave as Reno does, and so does a subflow without siblings.
 */
#define pr_fmt(fmt) "MPTCP: " fmt

#include <linux/hashtable.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include "protocol.h"
#include "coupled.h"

/* A rate relative to that of one packet per shortest round trip: 1 is 2^36.
 * 2^20 packets on each of 64 subflows still fit into 64 bits.
 */
#define RATE_SHIFT	36

static DEFINE_HASHTABLE(groups, 8);
static DEFINE_SPINLOCK(groups_lock);

static struct coupled_group *find_group(const struct sock *conn,
					const struct tcp_congestion_ops *ops)
{
	struct coupled_group *group;

	hash_for_each_possible(groups, group, hash, (unsigned long)conn) {
		if (group->conn == conn && group->ops == ops)
			return group;
	}
	return NULL;
}

static struct coupled_group *make_group(struct sock *conn,
					const struct tcp_congestion_ops *ops)
{
	struct coupled_group *group = kzalloc(sizeof(*group), GFP_ATOMIC);

	if (!group)
		return NULL;

	sock_hold(conn);
	group->conn = conn;
	group->ops = ops;
	spin_lock_init(&group->lock);
	INIT_LIST_HEAD(&group->subflows);
	hash_add(groups, &group->hash, (unsigned long)conn);
	return group;
}

void coupled_init(struct sock *sk)
{
	const struct tcp_congestion_ops *ops = inet_csk(sk)->icsk_ca_ops;
	struct coupled_subflow *self = coupled_subflow(sk);
	u64 acked = tcp_sk(sk)->bytes_acked;
	struct mptcp_subflow_context *ctx;
	struct coupled_group *group;

	BUILD_BUG_ON(sizeof(*self) > ICSK_CA_PRIV_SIZE);

	*self = (struct coupled_subflow) {
		.sk = sk,
		.lost_at = { acked, acked, acked },
	};

	if (!sk_is_mptcp(sk))
		return;
	ctx = mptcp_subflow_ctx(sk);
	if (!ctx || !ctx->conn)
		return;

	spin_lock_bh(&groups_lock);
	group = find_group(ctx->conn, ops);
	if (!group)
		group = make_group(ctx->conn, ops);
	if (group) {
		self->group = group;
		spin_lock(&group->lock);
		list_add_tail(&self->node, &group->subflows);
		spin_unlock(&group->lock);
	}
	spin_unlock_bh(&groups_lock);
}

void coupled_release(struct sock *sk)
{
	struct coupled_subflow *self = coupled_subflow(sk);
	struct coupled_group *group = self->group;
	bool is_last;

	if (!group)
		return;

	spin_lock_bh(&groups_lock);
	spin_lock(&group->lock);
	list_del(&self->node);
	is_last = list_empty(&group->subflows);
	spin_unlock(&group->lock);
	if (is_last)
		hash_del(&group->hash);
	spin_unlock_bh(&groups_lock);

	self->group = NULL;
	if (is_last) {
		sock_put(group->conn);
		kfree(group);
	}
}

/* Does a sibling take part in the connection's transfer now? A subflow that has
 * nothing in flight and has sent nothing for a retransmission timeout does not:
 * a backup that waits, or one that the scheduler leaves out. Its window says
 * nothing about its path; TCP itself starts it anew after such a pause.
 */
static bool takes_part(const struct sock *sk)
{
	const struct mptcp_subflow_context *ctx;
	const struct tcp_sock *tp = tcp_sk(sk);
	u32 idle;

	if (!((1 << inet_sk_state_load(sk)) & (TCPF_ESTABLISHED | TCPF_CLOSE_WAIT)))
		return false;

	ctx = rcu_dereference(inet_csk(sk)->icsk_ulp_data);
	if (!ctx || READ_ONCE(ctx->stale))
		return false;
	if (ctx->request_join && !READ_ONCE(ctx->fully_established))
		return false;

	if (!READ_ONCE(tp->srtt_us) || !READ_ONCE(tp->data_segs_out))
		return false;
	if (READ_ONCE(tp->packets_out))
		return true;
	idle = tcp_jiffies32 - READ_ONCE(tp->lsndtime);
	return idle <= READ_ONCE(inet_csk(sk)->icsk_rto);
}

/* The window that a subflow has or is being brought to. */
static u32 window_of(const struct sock *sk)
{
	const struct tcp_sock *tp = tcp_sk(sk);
	u32 cwnd;

	if (BIT(inet_csk(sk)->icsk_ca_state) & (TCPF_CA_CWR | TCPF_CA_Recovery))
		cwnd = READ_ONCE(tp->snd_ssthresh);
	else
		cwnd = READ_ONCE(tp->snd_cwnd);
	return clamp_t(u32, cwnd, 1, COUPLED_MAX_CWND);
}

static void look_at(struct coupled_subflow *path, bool is_self)
{
	const struct tcp_sock *tp = tcp_sk(path->sk);

	path->cwnd = 0;
	if (!is_self && !takes_part(path->sk))
		return;

	path->cwnd = window_of(path->sk);
	path->rtt = max_t(u32, READ_ONCE(tp->srtt_us), 1);
	path->run = max(READ_ONCE(tp->bytes_acked) - path->lost_at[0],
			path->lost_at[0] - path->lost_at[1]);
}

/* share = (w / rtt) / (sum of w / rtt), all of it relative to the shortest rtt:
 * no quotient is then more than its window, and the sum is at least one packet.
 */
static void share_out(struct coupled_group *group)
{
	struct coupled_subflow *path;
	u32 shortest = U32_MAX;
	u64 total = 0;

	coupled_for_each(path, group)
		shortest = min(shortest, path->rtt);

	coupled_for_each(path, group) {
		path->share = mul_u64_u64_div_u64((u64)path->cwnd << RATE_SHIFT,
						  shortest, path->rtt);
		total += path->share;
	}

	coupled_for_each(path, group)
		path->share = mul_u64_u64_div_u64(path->share,
						  BIT_ULL(COUPLED_SHARE_SHIFT),
						  total);
}

/* Look at all subflows of the connection and return the caller's, with the group
 * locked; NULL, and nothing locked, when it is alone.
 */
struct coupled_subflow *coupled_lock(const struct sock *sk)
{
	struct coupled_subflow *self = coupled_subflow(sk), *path;
	struct coupled_group *group = self->group;

	if (!group)
		return NULL;

	spin_lock_bh(&group->lock);
	rcu_read_lock();
	group->count = 0;
	list_for_each_entry(path, &group->subflows, node) {
		look_at(path, path == self);
		group->count += path->cwnd > 0;
	}
	rcu_read_unlock();

	if (group->count < 2) {
		spin_unlock_bh(&group->lock);
		return NULL;
	}
	share_out(group);
	return self;
}

void coupled_unlock(struct coupled_subflow *self)
{
	spin_unlock_bh(&self->group->lock);
}

/* Change the window by a step for each acknowledged packet. What is less than a
 * packet is kept for later, with its sign.
 */
static void follow(struct sock *sk, u32 acked, s64 step)
{
	struct coupled_subflow *self = coupled_subflow(sk);
	struct tcp_sock *tp = tcp_sk(sk);
	s64 cwnd, whole;

	self->credit += step * min_t(u32, acked, COUPLED_MAX_CWND);
	whole = abs(self->credit) >> COUPLED_STEP_SHIFT;
	if (!whole)
		return;
	if (self->credit < 0)
		whole = -whole;
	self->credit -= whole * (1LL << COUPLED_STEP_SHIFT);

	cwnd = clamp_t(s64, tcp_snd_cwnd(tp) + whole, 1, tp->snd_cwnd_clamp);
	tcp_snd_cwnd_set(tp, cwnd);
	/* Otherwise a window that was made smaller would be in slow start, and
	 * the next acknowledgment would take the change back.
	 */
	if (whole < 0)
		tp->snd_ssthresh = min_t(u32, tp->snd_ssthresh, cwnd);
}

/* Reno, with the algorithm's own step in congestion avoidance. */
void coupled_cong_avoid(struct sock *sk, u32 acked, coupled_step_fn step)
{
	struct tcp_sock *tp = tcp_sk(sk);
	struct coupled_subflow *self;
	s64 change;

	if (!tcp_is_cwnd_limited(sk))
		return;

	if (tcp_in_slow_start(tp)) {
		acked = tcp_slow_start(tp, acked);
		if (!acked)
			return;
	}

	self = coupled_lock(sk);
	if (!self) {
		tcp_cong_avoid_ai(tp, tcp_snd_cwnd(tp), acked);
		return;
	}
	change = step(self);
	coupled_unlock(self);
	follow(sk, acked, change);
}

/* A window is about to be reduced. A further loss before anything was
 * acknowledged belongs to the same interval.
 */
void coupled_loss(struct sock *sk)
{
	struct coupled_subflow *self = coupled_subflow(sk);
	struct coupled_group *group = self->group;
	u64 acked = tcp_sk(sk)->bytes_acked;

	self->credit = 0;
	if (!group || acked == self->lost_at[0])
		return;

	spin_lock_bh(&group->lock);
	self->lost_at[2] = self->lost_at[1];
	self->lost_at[1] = self->lost_at[0];
	self->lost_at[0] = acked;
	spin_unlock_bh(&group->lock);
}

/* There was no loss: the interval goes on. */
u32 coupled_undo_cwnd(struct sock *sk)
{
	struct coupled_subflow *self = coupled_subflow(sk);
	struct coupled_group *group = self->group;

	if (group) {
		spin_lock_bh(&group->lock);
		self->lost_at[0] = self->lost_at[1];
		self->lost_at[1] = self->lost_at[2];
		spin_unlock_bh(&group->lock);
	}
	return tcp_reno_undo_cwnd(sk);
}

u32 coupled_reno_ssthresh(struct sock *sk)
{
	coupled_loss(sk);
	return tcp_reno_ssthresh(sk);
}
