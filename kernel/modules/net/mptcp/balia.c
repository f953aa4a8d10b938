// SPDX-License-Identifier: GPL-2.0
/*
 * BALIA, the "balanced linked adaptation" of Peng, Walid, Hwang and Low
 * (IEEE/ACM Transactions on Networking 24(1), 2016;
 * draft-walid-mptcp-congestion-control).
 *
 * With the rates x_k = w_k / rtt_k and a_i = max(x_k) / x_i,
 *
 *   for each acknowledged packet:
 *     w_i += x_i / (rtt_i * (sum of x)^2) * (1 + a_i) / 2 * (4 + a_i) / 5
 *   for each loss:
 *     w_i -= w_i / 2 * min(a_i, 1.5)
 *
 * In terms of the shares of the rate, s_k = x_k / (sum of x), and of the largest
 * of them, m: the increase is (s_i + m) * (4 * s_i + m) / 10 / w_i, because the
 * s_i^2 in front takes the two divisions by s_i away; and a_i = m / s_i.
 */
#include <linux/module.h>
#include "coupled.h"

static u64 largest_share(const struct coupled_subflow *self)
{
	struct coupled_subflow *path;
	u64 largest = 0;

	coupled_for_each(path, self->group)
		largest = max(largest, path->share);
	return largest;
}

static s64 balia_step(const struct coupled_subflow *self)
{
	u64 largest = largest_share(self);
	u64 product = (self->share + largest) * (4 * self->share + largest);

	product >>= 2 * COUPLED_SHARE_SHIFT - COUPLED_STEP_SHIFT;
	return div_u64(div_u64(product, 10), self->cwnd);
}

static void balia_cong_avoid(struct sock *sk, u32 ack, u32 acked)
{
	coupled_cong_avoid(sk, acked, balia_step);
}

static u32 balia_ssthresh(struct sock *sk)
{
	u32 cut, cwnd = tcp_snd_cwnd(tcp_sk(sk));
	struct coupled_subflow *self;
	u64 share, largest;

	coupled_loss(sk);
	self = coupled_lock(sk);
	if (!self)
		return tcp_reno_ssthresh(sk);
	share = self->share;
	largest = largest_share(self);
	coupled_unlock(self);

	if (2 * largest >= 3 * share)
		cut = (u64)cwnd * 3 / 4;
	else
		cut = mul_u64_u64_div_u64(cwnd, largest, 2 * share);
	return max(cwnd - cut, 1U);
}

static struct tcp_congestion_ops balia __read_mostly = {
	.flags		= TCP_CONG_NON_RESTRICTED,
	.init		= coupled_init,
	.release	= coupled_release,
	.ssthresh	= balia_ssthresh,
	.cong_avoid	= balia_cong_avoid,
	.undo_cwnd	= coupled_undo_cwnd,
	.owner		= THIS_MODULE,
	.name		= "balia",
};

static int __init balia_register(void)
{
	return tcp_register_congestion_control(&balia);
}
module_init(balia_register);
