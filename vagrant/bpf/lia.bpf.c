// SPDX-License-Identifier: GPL-2.0
/*
 * LIA, the "linked increases" of RFC 6356, for a kernel that was not built for it: a congestion
 * control as a BPF program (struct_ops). It needs the kernel's type information (BTF), its BPF
 * JIT, and the kernel functions that bpf_tcp_ca offers, but no change of the kernel.
 *
 * For each acknowledged packet, w_i += min(alpha / sum of w, 1 / w_i), with
 * alpha = (sum of w) * max(w_k / rtt_k^2) / (sum of w_k / rtt_k)^2.
 *
 * In terms of the shares of the rate, s_k = (w_k / rtt_k) / (sum of w / rtt), the sum of windows
 * cancels: a window grows by one packet per max(w_i, min(w_k / s_k^2)) acknowledged packets.
 *
 * The program is called with its own subflow locked. Its siblings may change while they are read;
 * a window or an RTT that is one acknowledgement old does no harm to the sum.
 */
#include <linux/types.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <bpf/bpf_core_read.h>

char _license[] SEC("license") = "GPL";

/* An MPTCP connection has at most 8 subflows that its own path manager makes. */
#define MAX_SUBFLOWS 8
#define ESTABLISHED 1
#define SHARE_SHIFT 10
#define RATE_SHIFT 24
#define NON_RESTRICTED 1 /* a network namespace may choose it */

/* What is used of the kernel's types; the loader looks up where each member really lies. */
#define KERNEL_TYPE __attribute__((preserve_access_index))

struct list_head {
	struct list_head *next;
} KERNEL_TYPE;

struct sock_common {
	unsigned char skc_state;
} KERNEL_TYPE;

struct sock {
	struct sock_common __sk_common;
} KERNEL_TYPE;

struct inet_sock {
	struct sock sk;
} KERNEL_TYPE;

struct inet_connection_sock {
	struct inet_sock icsk_inet;
	void *icsk_ulp_data;
} KERNEL_TYPE;

struct tcp_sock {
	struct inet_connection_sock inet_conn;
	__u32 snd_cwnd;
	__u32 snd_ssthresh;
	__u32 srtt_us; /* eight times the smoothed RTT */
	__u32 max_packets_out;
	__u8 is_cwnd_limited : 1;
	bool is_mptcp;
} KERNEL_TYPE;

struct mptcp_sock {
	struct list_head conn_list;
} KERNEL_TYPE;

struct mptcp_subflow_context {
	struct list_head node;
	struct sock *tcp_sock;
	struct sock *conn;
} KERNEL_TYPE;

struct tcp_congestion_ops {
	__u32 (*ssthresh)(struct sock *sk);
	void (*cong_avoid)(struct sock *sk, __u32 ack, __u32 acked);
	__u32 (*undo_cwnd)(struct sock *sk);
	__u32 flags;
	char name[16];
};

extern void *bpf_rdonly_cast(const void *object, __u32 type) __ksym;
extern __u32 tcp_slow_start(struct tcp_sock *tp, __u32 acked) __ksym;
extern void tcp_cong_avoid_ai(struct tcp_sock *tp, __u32 w, __u32 acked) __ksym;
extern __u32 tcp_reno_ssthresh(struct sock *sk) __ksym;
extern __u32 tcp_reno_undo_cwnd(struct sock *sk) __ksym;

#define AS(pointer, type) ((type *)bpf_rdonly_cast(pointer, bpf_core_type_id_kernel(type)))

struct subflow {
	__u64 cwnd;
	__u64 rate; /* packets per microsecond, shifted */
};

static bool is_cwnd_limited(const struct tcp_sock *tp)
{
	if (tp->snd_cwnd < tp->snd_ssthresh)
		return tp->snd_cwnd < 2 * tp->max_packets_out;
	return BPF_CORE_READ_BITFIELD(tp, is_cwnd_limited);
}

/* Reads the established subflows of the connection that a subflow belongs to. */
static __u64 read_siblings(struct tcp_sock *tp, struct subflow *found)
{
	struct mptcp_subflow_context *context;
	struct mptcp_sock *connection;
	struct list_head *head, *node;
	__u64 total = 0;
	int i;

	context = AS(tp->inet_conn.icsk_ulp_data, struct mptcp_subflow_context);
	connection = AS(context->conn, struct mptcp_sock);
	head = &connection->conn_list;
	node = connection->conn_list.next;
	for (i = 0; i < MAX_SUBFLOWS && node && node != head; i++) {
		/* The node is the context's first member. */
		struct tcp_sock *sibling;

		context = AS(node, struct mptcp_subflow_context);
		sibling = AS(context->tcp_sock, struct tcp_sock);
		if (sibling->inet_conn.icsk_inet.sk.__sk_common.skc_state == ESTABLISHED &&
		    sibling->srtt_us >> 3) {
			found[i].cwnd = sibling->snd_cwnd;
			found[i].rate = (found[i].cwnd << RATE_SHIFT) / (sibling->srtt_us >> 3);
			total += found[i].rate;
		}
		node = context->node.next;
	}
	return total;
}

/* Returns after how many acknowledged packets the window grows by one. */
static __u32 packets_per_step(struct tcp_sock *tp)
{
	struct subflow subflows[MAX_SUBFLOWS] = {};
	__u64 total, linked = ~0ULL;
	int i;

	if (!tp->is_mptcp || !tp->inet_conn.icsk_ulp_data)
		return tp->snd_cwnd;
	total = read_siblings(tp, subflows);
	if (!total)
		return tp->snd_cwnd;
	for (i = 0; i < MAX_SUBFLOWS; i++) {
		__u64 share = (subflows[i].rate << SHARE_SHIFT) / total;
		__u64 packets;

		if (!share)
			continue;
		packets = (subflows[i].cwnd << (2 * SHARE_SHIFT)) / (share * share);
		if (packets < linked)
			linked = packets;
	}
	return linked > tp->snd_cwnd && linked < ~0U ? linked : tp->snd_cwnd;
}

SEC("struct_ops/lia_cong_avoid")
void BPF_PROG(lia_cong_avoid, struct sock *sk, __u32 ack, __u32 acked)
{
	struct tcp_sock *tp = (struct tcp_sock *)sk;

	if (!is_cwnd_limited(tp))
		return;
	if (tp->snd_cwnd < tp->snd_ssthresh) {
		acked = tcp_slow_start(tp, acked);
		if (!acked)
			return;
	}
	tcp_cong_avoid_ai(tp, packets_per_step(tp), acked);
}

SEC("struct_ops/lia_ssthresh")
__u32 BPF_PROG(lia_ssthresh, struct sock *sk)
{
	return tcp_reno_ssthresh(sk);
}

SEC("struct_ops/lia_undo_cwnd")
__u32 BPF_PROG(lia_undo_cwnd, struct sock *sk)
{
	return tcp_reno_undo_cwnd(sk);
}

SEC(".struct_ops")
struct tcp_congestion_ops lia = {
	.ssthresh = (void *)lia_ssthresh,
	.cong_avoid = (void *)lia_cong_avoid,
	.undo_cwnd = (void *)lia_undo_cwnd,
	.flags = NON_RESTRICTED,
	.name = "lia",
};
