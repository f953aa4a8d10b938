// SPDX-License-Identifier: GPL-2.0
/* Reads "n self" and n times "window rtt run state", where state is a to take part, b for a backup
 * that has sent nothing for long, s for stale, c for closing; prints what each algorithm makes of
 * it: the step per packet of lia, olia and balia (2^-40 packets; r if it behaves as Reno) and the
 * slow start thresholds of olia and balia.
 */
#include "shim.h"
#include "coupled.c"
#include "lia.c"
#include "olia.c"
#include "balia.c"

#define MOST 65

static struct mptcp_subflow_context contexts[MOST];
static struct sock sockets[MOST], connection;

static void fill(struct sock *sk, struct mptcp_subflow_context *ctx)
{
	unsigned long long run;
	char state;

	*sk = (struct sock) { .icsk_rto = 200, .icsk_ulp_data = ctx, .sk_state = 1,
			      .snd_cwnd_clamp = U32_MAX, .data_segs_out = 1, .packets_out = 1 };
	*ctx = (struct mptcp_subflow_context) { .conn = &connection };
	coupled_init(sk);
	assert(scanf("%u %u %llu %c", &sk->snd_cwnd, &sk->srtt_us, &run, &state) == 4);
	sk->bytes_acked = run;
	if (state == 'b')
		sk->packets_out = 0;
	ctx->stale = state == 's';
	if (state == 'c')
		sk->sk_state = 4;
}

static void print_step(struct sock *sk, coupled_step_fn step)
{
	struct coupled_subflow *self = coupled_lock(sk);

	if (!self) {
		printf("r ");
		return;
	}
	printf("%lld ", (long long)step(self));
	coupled_unlock(self);
}

int main(void)
{
	unsigned int n, self, i;

	while (scanf("%u %u", &n, &self) == 2) {
		assert(n <= MOST && self < n);
		for (i = 0; i < n; i++)
			fill(&sockets[i], &contexts[i]);
		print_step(&sockets[self], lia_step);
		print_step(&sockets[self], olia_step);
		print_step(&sockets[self], balia_step);
		printf("%u %u\n", olia.ssthresh(&sockets[self]), balia.ssthresh(&sockets[self]));
		for (i = 0; i < n; i++)
			coupled_release(&sockets[i]);
		assert(!groups);
	}
	return 0;
}
