// SPDX-License-Identifier: GPL-2.0
/*
 * LIA, the "linked increases" of RFC 6356.
 *
 * For each acknowledged packet, w_i += min(alpha / sum of w, 1 / w_i), with
 * alpha = (sum of w) * max(w_k / rtt_k^2) / (sum of w_k / rtt_k)^2.
 *
 * In terms of the shares of the rate, s_k = (w_k / rtt_k) / (sum of w / rtt),
 * that is min(max(s_k^2 / w_k), 1 / w_i): the sum of windows cancels.
 */
#include <linux/module.h>
#include "coupled.h"

static s64 lia_step(const struct coupled_subflow *self)
{
	struct coupled_subflow *path;
	u64 best = 0;

	coupled_for_each(path, self->group)
		best = max(best, coupled_linked_step(path));
	return min(best, coupled_reno_step(self));
}

static void lia_cong_avoid(struct sock *sk, u32 ack, u32 acked)
{
	coupled_cong_avoid(sk, acked, lia_step);
}

static struct tcp_congestion_ops lia __read_mostly = {
	.flags		= TCP_CONG_NON_RESTRICTED,
	.init		= coupled_init,
	.release	= coupled_release,
	.ssthresh	= coupled_reno_ssthresh,
	.cong_avoid	= lia_cong_avoid,
	.undo_cwnd	= coupled_undo_cwnd,
	.owner		= THIS_MODULE,
	.name		= "lia",
};

static int __init lia_register(void)
{
	return tcp_register_congestion_control(&lia);
}
module_init(lia_register);
