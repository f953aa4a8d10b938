/* SPDX-License-Identifier: GPL-2.0 */
/* As much of the kernel as net/mptcp/{coupled,lia,olia,balia}.c need to run in a
 * program, with products that must not overflow checked.
 */
#ifndef SHIM_H
#define SHIM_H
#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

typedef uint8_t u8;
typedef uint32_t u32;
typedef int32_t s32;
typedef uint64_t u64;
typedef int64_t s64;

#define U32_MAX UINT32_MAX
#define BIT(n) (1UL << (n))
#define BIT_ULL(n) (1ULL << (n))
#define READ_ONCE(x) (x)
#define BUILD_BUG_ON(c) _Static_assert(!(c), #c)
#define min(a, b) ((a) < (b) ? (a) : (b))
#define max(a, b) ((a) > (b) ? (a) : (b))
#define min_t(t, a, b) min((t)(a), (t)(b))
#define max_t(t, a, b) max((t)(a), (t)(b))
#define clamp_t(t, v, lo, hi) min_t(t, max_t(t, v, lo), hi)
#define abs(x) ((x) < 0 ? -(x) : (x))
#define for_each_if(condition) if (!(condition)) {} else
#define __read_mostly
#define __init __attribute__((unused))
#define THIS_MODULE NULL
#define module_init(f)
#define container_of(p, t, m) ((t *)((char *)(p) - offsetof(t, m)))

static inline u64 div_u64(u64 a, u32 b) { assert(b); return a / b; }

static inline u64 mul_u64_u64_div_u64(u64 a, u64 b, u64 c)
{
	unsigned __int128 quotient;

	assert(c);
	quotient = (unsigned __int128)a * b / c;
	assert(!(quotient >> 64));
	return quotient;
}

static inline u64 mul_u64_u64_shr(u64 a, u64 b, unsigned int shift)
{
	return (unsigned __int128)a * b >> shift;
}

struct list_head { struct list_head *next, *prev; };
#define INIT_LIST_HEAD(l) ((l)->next = (l)->prev = (l))
static inline void list_add_tail(struct list_head *n, struct list_head *head)
{
	n->prev = head->prev;
	n->next = head;
	head->prev->next = n;
	head->prev = n;
}
static inline void list_del(struct list_head *n)
{
	n->prev->next = n->next;
	n->next->prev = n->prev;
}
#define list_empty(l) ((l)->next == (l))
#define list_for_each_entry(p, head, m)						\
	for (p = container_of((head)->next, typeof(*p), m); &p->m != (head);	\
	     p = container_of(p->m.next, typeof(*p), m))

struct hlist_node { int unused; };
#define DEFINE_HASHTABLE(name, bits) void *name
#define DEFINE_SPINLOCK(name) int name
typedef int spinlock_t;
#define spin_lock_init(l) ((void)(l))
#define spin_lock(l) ((void)(l))
#define spin_unlock(l) ((void)(l))
#define spin_lock_bh(l) ((void)(l))
#define spin_unlock_bh(l) ((void)(l))
#define rcu_read_lock()
#define rcu_read_unlock()
#define rcu_dereference(x) (x)
/* One connection at a time. */
#define hash_for_each_possible(table, group, member, key)			\
	for (group = (table); group; group = NULL)
#define hash_add(table, node, key)						\
	((table) = container_of(node, struct coupled_group, hash))
#define hash_del(node) (groups = NULL)
#define GFP_ATOMIC 0
#define kzalloc(n, f) calloc(1, n)
#define kfree free

enum { TCPF_ESTABLISHED = 1 << 1, TCPF_CLOSE_WAIT = 1 << 8 };
enum { TCPF_CA_CWR = 1 << 2, TCPF_CA_Recovery = 1 << 3 };
#define TCP_CONG_NON_RESTRICTED 1
#define ICSK_CA_PRIV_SIZE 104

struct mptcp_subflow_context {
	struct sock *conn;
	bool stale, request_join, fully_established;
};

struct tcp_congestion_ops;

/* A socket and all that is found behind one. */
struct sock {
	u8 sk_state, icsk_ca_state;
	const struct tcp_congestion_ops *icsk_ca_ops;
	void *icsk_ulp_data;
	u32 icsk_rto, snd_cwnd, snd_ssthresh, snd_cwnd_clamp, srtt_us, data_segs_out;
	u32 packets_out, lsndtime;
	u64 bytes_acked;
	u64 priv[ICSK_CA_PRIV_SIZE / 8];
};
#define tcp_sock sock
#define inet_csk(sk) (sk)
#define tcp_sk(sk) (sk)
#define inet_csk_ca(sk) ((void *)(sk)->priv)
#define inet_sk_state_load(sk) ((sk)->sk_state)
#define sk_is_mptcp(sk) ((sk)->icsk_ulp_data != NULL)
#define mptcp_subflow_ctx(sk) ((struct mptcp_subflow_context *)(sk)->icsk_ulp_data)
#define sock_hold(sk) ((void)(sk))
#define sock_put(sk) ((void)(sk))
static u32 tcp_jiffies32 = 1000;
#define tcp_snd_cwnd(tp) ((tp)->snd_cwnd)
#define tcp_snd_cwnd_set(tp, v) ((tp)->snd_cwnd = (v))
#define tcp_is_cwnd_limited(sk) true
#define tcp_in_slow_start(tp) ((tp)->snd_cwnd < (tp)->snd_ssthresh)
static inline u32 tcp_slow_start(struct sock *tp, u32 acked) { (void)tp; return acked; }
static inline void tcp_cong_avoid_ai(struct sock *tp, u32 w, u32 acked)
{
	(void)tp, (void)w, (void)acked;
}
static inline u32 tcp_reno_ssthresh(struct sock *sk) { return max(sk->snd_cwnd >> 1, 2U); }
static inline u32 tcp_reno_undo_cwnd(struct sock *sk) { return sk->snd_cwnd; }

struct tcp_congestion_ops {
	u32 flags;
	void (*init)(struct sock *sk);
	void (*release)(struct sock *sk);
	u32 (*ssthresh)(struct sock *sk);
	void (*cong_avoid)(struct sock *sk, u32 ack, u32 acked);
	u32 (*undo_cwnd)(struct sock *sk);
	void *owner;
	const char *name;
};
static inline int tcp_register_congestion_control(struct tcp_congestion_ops *ops)
{
	return !ops;
}
#endif
