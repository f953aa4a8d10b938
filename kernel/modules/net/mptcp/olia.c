// SPDX-License-Identifier: GPL-2.0
/*
 * OLIA, the "opportunistic linked increases" of Khalili, Gast, Popovic and Le
 * Boudec (IEEE/ACM Transactions on Networking 21(5), 2013;
 * draft-khalili-mptcp-congestion-control).
 *
 * For each acknowledged packet,
 *
 *   w_i += (w_i / rtt_i^2) / (sum of w_k / rtt_k)^2 + alpha_i / w_i
 *
 * The first term shares windows out optimally. The second moves window between
 * paths: from the ones with the largest windows to those that look best, but
 * have a smaller window ("collected"). With n paths in all,
 *
 *   alpha_i =  1 / (n * number collected)  for a path that is collected,
 *   alpha_i = -1 / (n * number largest)    for one of the largest windows,
 *   alpha_i =  0                           for others, and if none is collected.
 *
 * Best is the path on which a TCP connection would be fastest. Its rate is
 * sqrt(2 / p) / rtt, and 1 / p is estimated by the longer of the last two
 * intervals between losses (the current one is the last), so it is the path with
 * the largest interval / rtt^2.
 */
#include <linux/module.h>
#include "coupled.h"

/* Is a's interval / rtt^2 larger (1), equal (0) or smaller (-1)? Exact. */
static int olia_compare(const struct coupled_subflow *a,
			const struct coupled_subflow *b)
{
	u64 a_rtt2 = (u64)a->rtt * a->rtt, b_rtt2 = (u64)b->rtt * b->rtt;
	u64 a_high = mul_u64_u64_shr(a->run, b_rtt2, 64);
	u64 b_high = mul_u64_u64_shr(b->run, a_rtt2, 64);
	u64 a_low = a->run * b_rtt2, b_low = b->run * a_rtt2;

	if (a_high != b_high)
		return a_high > b_high ? 1 : -1;
	if (a_low != b_low)
		return a_low > b_low ? 1 : -1;
	return 0;
}

/* Return alpha / w. */
static s64 olia_alpha(const struct coupled_subflow *self)
{
	const struct coupled_subflow *best = self;
	unsigned int largest = 0, collected = 0;
	struct coupled_subflow *path;
	u32 max_cwnd = 0;
	s64 unit;

	coupled_for_each(path, self->group) {
		max_cwnd = max(max_cwnd, path->cwnd);
		if (olia_compare(path, best) > 0)
			best = path;
	}

	coupled_for_each(path, self->group) {
		if (path->cwnd == max_cwnd)
			largest++;
		else if (!olia_compare(path, best))
			collected++;
	}

	if (!collected)
		return 0;
	unit = div_u64(coupled_reno_step(self), self->group->count);
	if (self->cwnd == max_cwnd)
		return -(s64)div_u64(unit, largest);
	return olia_compare(self, best) ? 0 : div_u64(unit, collected);
}

static s64 olia_step(const struct coupled_subflow *self)
{
	return coupled_linked_step(self) + olia_alpha(self);
}

static void olia_cong_avoid(struct sock *sk, u32 ack, u32 acked)
{
	coupled_cong_avoid(sk, acked, olia_step);
}

/* Half the window, as Reno; down to one packet on a path that is not the only
 * one, so that a congested path can be left nearly unused.
 */
static u32 olia_ssthresh(struct sock *sk)
{
	struct coupled_subflow *self;

	coupled_loss(sk);
	self = coupled_lock(sk);
	if (!self)
		return tcp_reno_ssthresh(sk);
	coupled_unlock(self);
	return max(tcp_snd_cwnd(tcp_sk(sk)) >> 1, 1U);
}

static struct tcp_congestion_ops olia __read_mostly = {
	.flags		= TCP_CONG_NON_RESTRICTED,
	.init		= coupled_init,
	.release	= coupled_release,
	.ssthresh	= olia_ssthresh,
	.cong_avoid	= olia_cong_avoid,
	.undo_cwnd	= coupled_undo_cwnd,
	.owner		= THIS_MODULE,
	.name		= "olia",
};

static int __init olia_register(void)
{
	return tcp_register_congestion_control(&olia);
}
module_init(olia_register);
