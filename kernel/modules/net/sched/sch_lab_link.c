// SPDX-License-Identifier: GPL-2.0
/*
 * lab_link: one direction of an emulated link, as one queueing discipline.
 *
 *   arrivals -> loss -> [ queue, LIMIT bytes ] -> server -> [ delay line ] -> out
 *
 * The bottleneck queue comes first and the propagation delay after it, as on a
 * real link; netem keeps both in one queue whose limit counts the packets in
 * flight too, and fixes a packet's departure when it arrives, so a later change
 * of rate leaves seconds of queue at the old one.
 *
 * The server either works at RATE, or follows a TRACE in mahimahi's sense: each
 * entry is an opportunity to deliver 1500 bytes at that millisecond, a packet may
 * take several opportunities, several packets may share one, and what an
 * opportunity finds nobody to use is lost.
 *
 * Sizes are those of the IP packet: a link of 8 Mbit/s carries 8 Mbit/s of IP.
 * Every change is made in place and keeps the packets that are in the queue.
 */
#include <linux/module.h>
#include <linux/prandom.h>
#include <linux/skbuff.h>
#include <net/netlink.h>
#include <net/pkt_sched.h>
#include <net/sock.h>

enum {
	LAB_LINK_UNSPEC,
	LAB_LINK_RATE,		/* u64, bytes per second; 0: nothing is served */
	LAB_LINK_DELAY,		/* s64, ns */
	LAB_LINK_LIMIT,		/* u32, bytes waiting or being served */
	LAB_LINK_LOSS,		/* u32, probability in units of 2^-32 */
	LAB_LINK_SEED,		/* u64, seed of the losses */
	LAB_LINK_UP,		/* u32, 0: the queue is lost and so is all that comes */
	LAB_LINK_TRACE,		/* u32[], ms since the start, in ascending order */
	LAB_LINK_TRACE_MORE,	/* u32[], appended: an attribute holds 64 KiB at most */
	LAB_LINK_TRACE_PERIOD,	/* u32, ms after which the trace starts again; 0: never */
	LAB_LINK_TRACE_START,	/* s64, ns of the monotonic clock at the trace's 0 */
	LAB_LINK_PAD,
	__LAB_LINK_MAX
};
#define LAB_LINK_MAX (__LAB_LINK_MAX - 1)

/* Bytes of one opportunity, mahimahi's unit. */
#define OPPORTUNITY_BYTES 1500

/* Rate of a server that takes no time. */
#define RATE_UNLIMITED U64_MAX

struct lab_link_stats {
	u64 dropped_full;
	u64 dropped_loss;
	u64 dropped_down;
	u64 delivered_bytes;
	u64 opportunities;	/* of the trace, while somebody was waiting */
	u64 max_backlog;	/* bytes, of the queue alone */
	u64 busy_ns;		/* while something waited and the link was not still */
	u64 backlog;		/* bytes, of the queue alone, now */
};

struct lab_link {
	u64 rate;
	s64 delay;
	u32 limit;
	u32 loss;
	bool up;

	u32 *trace;
	u32 trace_len;
	u32 trace_period;
	s64 trace_start;

	struct rnd_state prng;

	struct sk_buff_head queue;
	u64 queue_bytes;
	u64 head_left;		/* bytes * NSEC_PER_SEC that the head still needs */
	u64 served_until;	/* ns up to which the server's work is accounted */

	struct sk_buff_head flight;
	u64 last_arrival;	/* ns at which the newest packet in flight comes out */

	struct lab_link_stats stats;
	struct qdisc_watchdog watchdog;
};

struct lab_link_cb {
	u64 arrival;
};

static struct lab_link_cb *lab_link_cb(const struct sk_buff *skb)
{
	qdisc_cb_private_validate(skb, sizeof(struct lab_link_cb));
	return (struct lab_link_cb *)qdisc_skb_cb(skb)->data;
}

static u32 ip_bytes(const struct sk_buff *skb)
{
	return skb->len - skb_network_offset(skb);
}

static void load_head(struct lab_link *q)
{
	struct sk_buff *head = skb_peek(&q->queue);

	q->head_left = head ? (u64)ip_bytes(head) * NSEC_PER_SEC : 0;
}

static bool is_still(const struct lab_link *q)
{
	return !q->trace_len && !q->rate;
}

/* The server has worked, or waited for its next opportunity, until the time at. */
static void work_until(struct lab_link *q, u64 at)
{
	if (!is_still(q))
		q->stats.busy_ns += at - q->served_until;
	q->served_until = at;
}

/* The head has been served at the time at: it goes on its way. */
static void depart(struct lab_link *q, u64 at)
{
	struct sk_buff *skb = __skb_dequeue(&q->queue);

	q->queue_bytes -= ip_bytes(skb);
	q->stats.delivered_bytes += ip_bytes(skb);
	/* A link does not reorder, also when its delay has just become shorter. */
	q->last_arrival = max(q->last_arrival, at + q->delay);
	lab_link_cb(skb)->arrival = q->last_arrival;
	__skb_queue_tail(&q->flight, skb);
	load_head(q);
}

static u64 rate_done_at(const struct lab_link *q)
{
	if (q->rate == RATE_UNLIMITED)
		return q->served_until;
	if (!q->rate)
		return U64_MAX;
	return q->served_until + DIV64_U64_ROUND_UP(q->head_left, q->rate);
}

/* Time of the first opportunity after the time after; U64_MAX: there is none. */
static u64 next_opportunity(const struct lab_link *q, u64 after, u32 *count)
{
	u64 cycle = 0, ms, time_ms;
	u32 low = 0, high = q->trace_len, first;
	s64 since = (s64)after - q->trace_start;

	/* The first whole millisecond that lies strictly after. */
	ms = since < 0 ? 0 : div_u64(since, NSEC_PER_MSEC) + 1;
	if (q->trace_period && ms) {
		u64 rest;

		/* A trace of period P has its instants in (0, P] of each cycle, and at 0. */
		cycle = div64_u64_rem(ms - 1, q->trace_period, &rest);
		ms = rest + 1;
	}
	while (low < high) {
		u32 mid = low + (high - low) / 2;

		if (q->trace[mid] < ms)
			low = mid + 1;
		else
			high = mid;
	}
	if (low == q->trace_len) {
		if (!q->trace_period)
			return U64_MAX;
		cycle++;
		low = 0;
	}
	first = low;
	time_ms = q->trace[first];
	while (low < q->trace_len && q->trace[low] == time_ms)
		low++;
	*count = low - first;
	return q->trace_start + (cycle * q->trace_period + time_ms) * NSEC_PER_MSEC;
}

static void use_opportunities(struct lab_link *q, u64 at, u32 count)
{
	while (count-- && !skb_queue_empty(&q->queue)) {
		u64 budget = (u64)OPPORTUNITY_BYTES * NSEC_PER_SEC;

		q->stats.opportunities++;
		while (budget && !skb_queue_empty(&q->queue)) {
			u64 taken = min(budget, q->head_left);

			q->head_left -= taken;
			budget -= taken;
			if (!q->head_left)
				depart(q, at);
		}
	}
}

/* Account for what the server did until now. */
static void serve(struct lab_link *q, u64 now)
{
	while (!skb_queue_empty(&q->queue)) {
		u32 count;
		u64 at;

		if (q->trace_len) {
			at = next_opportunity(q, q->served_until, &count);
			if (at > now)
				break;
			work_until(q, at);
			use_opportunities(q, at, count);
		} else {
			at = rate_done_at(q);
			if (at > now)
				break;
			work_until(q, at);
			depart(q, at);
		}
	}
	if (skb_queue_empty(&q->queue))
		q->served_until = max(q->served_until, now);
}

/* Bring the work on the head up to now, before rate or trace change or counters are read. */
static void settle(struct lab_link *q, u64 now)
{
	serve(q, now);
	if (now <= q->served_until)
		return;
	if (!q->trace_len && q->rate != RATE_UNLIMITED)
		q->head_left -= min(q->head_left, (now - q->served_until) * q->rate);
	work_until(q, now);
}

static int lab_link_enqueue(struct sk_buff *skb, struct Qdisc *sch,
			    struct sk_buff **to_free)
{
	struct lab_link *q = qdisc_priv(sch);
	u32 bytes = ip_bytes(skb);

	serve(q, ktime_get_ns());
	if (!q->up) {
		q->stats.dropped_down++;
		return qdisc_drop(skb, sch, to_free);
	}
	if (q->loss && prandom_u32_state(&q->prng) < q->loss) {
		q->stats.dropped_loss++;
		qdisc_qstats_drop(sch);
		__qdisc_drop(skb, to_free);
		/* Lost on the way: the sender's own queue must not notice. */
		return NET_XMIT_SUCCESS | __NET_XMIT_BYPASS;
	}
	if (q->queue_bytes + bytes > q->limit) {
		q->stats.dropped_full++;
		return qdisc_drop(skb, sch, to_free);
	}
	/* What waits here has left the sender's host. */
	skb_orphan_partial(skb);
	__skb_queue_tail(&q->queue, skb);
	q->queue_bytes += bytes;
	q->stats.max_backlog = max(q->stats.max_backlog, q->queue_bytes);
	if (skb_queue_len(&q->queue) == 1)
		load_head(q);
	qdisc_qstats_backlog_inc(sch, skb);
	qdisc_qlen_inc(sch);
	return NET_XMIT_SUCCESS;
}

/* A time before which nothing can come out. */
static u64 next_event(const struct lab_link *q)
{
	struct sk_buff *skb = skb_peek(&q->flight);
	u64 at;
	u32 count;

	if (skb)
		return lab_link_cb(skb)->arrival;
	if (skb_queue_empty(&q->queue))
		return U64_MAX;
	at = q->trace_len ? next_opportunity(q, q->served_until, &count) : rate_done_at(q);
	return at == U64_MAX ? at : max(q->last_arrival, at + q->delay);
}

static struct sk_buff *lab_link_dequeue(struct Qdisc *sch)
{
	struct lab_link *q = qdisc_priv(sch);
	u64 now = ktime_get_ns(), at;
	struct sk_buff *skb;

	serve(q, now);
	at = next_event(q);
	if (at > now) {
		if (at != U64_MAX)
			qdisc_watchdog_schedule_ns(&q->watchdog, at);
		return NULL;
	}
	skb = __skb_dequeue(&q->flight);
	qdisc_qstats_backlog_dec(sch, skb);
	qdisc_qlen_dec(sch);
	qdisc_bstats_update(sch, skb);
	return skb;
}

static void purge(struct Qdisc *sch, struct sk_buff_head *list)
{
	struct sk_buff *skb;

	while ((skb = __skb_dequeue(list))) {
		qdisc_qstats_backlog_dec(sch, skb);
		qdisc_qlen_dec(sch);
		rtnl_kfree_skbs(skb, skb);
	}
}

static void lose_queue(struct Qdisc *sch)
{
	struct lab_link *q = qdisc_priv(sch);

	q->stats.dropped_down += skb_queue_len(&q->queue);
	purge(sch, &q->queue);
	q->queue_bytes = 0;
	q->head_left = 0;
}

static void lab_link_reset(struct Qdisc *sch)
{
	struct lab_link *q = qdisc_priv(sch);

	qdisc_watchdog_cancel(&q->watchdog);
	purge(sch, &q->queue);
	purge(sch, &q->flight);
	q->queue_bytes = 0;
	q->head_left = 0;
}

static const struct nla_policy lab_link_policy[LAB_LINK_MAX + 1] = {
	[LAB_LINK_RATE]		= { .type = NLA_U64 },
	[LAB_LINK_DELAY]	= { .type = NLA_S64 },
	[LAB_LINK_LIMIT]	= { .type = NLA_U32 },
	[LAB_LINK_LOSS]		= { .type = NLA_U32 },
	[LAB_LINK_SEED]		= { .type = NLA_U64 },
	[LAB_LINK_UP]		= { .type = NLA_U32 },
	[LAB_LINK_TRACE]	= { .type = NLA_BINARY },
	[LAB_LINK_TRACE_MORE]	= { .type = NLA_BINARY },
	[LAB_LINK_TRACE_PERIOD]	= { .type = NLA_U32 },
	[LAB_LINK_TRACE_START]	= { .type = NLA_S64 },
};

/* A trace as it will be: what is there, if it is to be kept, and then the new part. */
struct lab_link_trace {
	u32 *stamps;
	u32 len;
};

static int check_trace(const struct lab_link_trace *trace, u32 period,
		       struct netlink_ext_ack *extack)
{
	u32 i;

	for (i = 1; i < trace->len; i++) {
		if (trace->stamps[i] < trace->stamps[i - 1]) {
			NL_SET_ERR_MSG(extack, "lab_link: the trace goes back in time");
			return -EINVAL;
		}
	}
	if (trace->len && period && period < trace->stamps[trace->len - 1]) {
		NL_SET_ERR_MSG(extack, "lab_link: the trace is longer than its period");
		return -EINVAL;
	}
	return 0;
}

static int build_trace(const struct lab_link *q, struct nlattr **tb,
		       struct lab_link_trace *trace)
{
	struct nlattr *attr = tb[LAB_LINK_TRACE] ?: tb[LAB_LINK_TRACE_MORE];
	u32 kept = tb[LAB_LINK_TRACE] ? 0 : q->trace_len;
	u32 more = nla_len(attr) / sizeof(u32);

	trace->stamps = NULL;
	trace->len = kept + more;
	if (!trace->len)
		return 0;
	trace->stamps = kvmalloc_array(trace->len, sizeof(u32), GFP_KERNEL);
	if (!trace->stamps)
		return -ENOMEM;
	memcpy(trace->stamps, q->trace, kept * sizeof(u32));
	memcpy(trace->stamps + kept, nla_data(attr), more * sizeof(u32));
	return 0;
}

static void set_numbers(struct Qdisc *sch, struct nlattr **tb)
{
	struct lab_link *q = qdisc_priv(sch);

	if (tb[LAB_LINK_RATE])
		q->rate = nla_get_u64(tb[LAB_LINK_RATE]);
	if (tb[LAB_LINK_DELAY])
		q->delay = nla_get_s64(tb[LAB_LINK_DELAY]);
	if (tb[LAB_LINK_LIMIT])
		q->limit = nla_get_u32(tb[LAB_LINK_LIMIT]);
	if (tb[LAB_LINK_LOSS])
		q->loss = nla_get_u32(tb[LAB_LINK_LOSS]);
	if (tb[LAB_LINK_SEED])
		prandom_seed_state(&q->prng, nla_get_u64(tb[LAB_LINK_SEED]));
	if (tb[LAB_LINK_TRACE_PERIOD])
		q->trace_period = nla_get_u32(tb[LAB_LINK_TRACE_PERIOD]);
	if (tb[LAB_LINK_TRACE_START])
		q->trace_start = nla_get_s64(tb[LAB_LINK_TRACE_START]);
	if (tb[LAB_LINK_UP]) {
		q->up = nla_get_u32(tb[LAB_LINK_UP]);
		if (!q->up)
			lose_queue(sch);
	}
}

static int lab_link_change(struct Qdisc *sch, struct nlattr *opt,
			   struct netlink_ext_ack *extack)
{
	struct lab_link *q = qdisc_priv(sch);
	struct nlattr *tb[LAB_LINK_MAX + 1];
	struct lab_link_trace trace = {};
	u32 period = q->trace_period;
	bool has_trace;
	int err;

	err = nla_parse_nested(tb, LAB_LINK_MAX, opt, lab_link_policy, extack);
	if (err)
		return err;
	if (tb[LAB_LINK_DELAY] && nla_get_s64(tb[LAB_LINK_DELAY]) < 0) {
		NL_SET_ERR_MSG(extack, "lab_link: the delay is negative");
		return -EINVAL;
	}
	if (tb[LAB_LINK_TRACE_PERIOD])
		period = nla_get_u32(tb[LAB_LINK_TRACE_PERIOD]);
	has_trace = tb[LAB_LINK_TRACE] || tb[LAB_LINK_TRACE_MORE];
	if (has_trace) {
		err = build_trace(q, tb, &trace);
		if (!err)
			err = check_trace(&trace, period, extack);
		if (err) {
			kvfree(trace.stamps);
			return err;
		}
	} else {
		struct lab_link_trace present = { q->trace, q->trace_len };

		err = check_trace(&present, period, extack);
		if (err)
			return err;
	}

	sch_tree_lock(sch);
	settle(q, ktime_get_ns());
	if (has_trace) {
		swap(q->trace, trace.stamps);
		q->trace_len = trace.len;
	}
	set_numbers(sch, tb);
	sch_tree_unlock(sch);
	kvfree(trace.stamps);
	/* What was timed with the old values must be timed anew. */
	netif_schedule_queue(sch->dev_queue);
	return 0;
}

static int lab_link_init(struct Qdisc *sch, struct nlattr *opt,
			 struct netlink_ext_ack *extack)
{
	struct lab_link *q = qdisc_priv(sch);

	qdisc_watchdog_init(&q->watchdog, sch);
	__skb_queue_head_init(&q->queue);
	__skb_queue_head_init(&q->flight);
	q->rate = RATE_UNLIMITED;
	q->limit = U32_MAX;
	q->up = true;
	q->served_until = ktime_get_ns();
	prandom_seed_state(&q->prng, 0);
	return opt ? lab_link_change(sch, opt, extack) : 0;
}

static void lab_link_destroy(struct Qdisc *sch)
{
	struct lab_link *q = qdisc_priv(sch);

	qdisc_watchdog_cancel(&q->watchdog);
	kvfree(q->trace);
}

static int lab_link_dump(struct Qdisc *sch, struct sk_buff *skb)
{
	struct lab_link *q = qdisc_priv(sch);
	struct nlattr *nest = nla_nest_start(skb, TCA_OPTIONS);

	if (!nest ||
	    nla_put_u64_64bit(skb, LAB_LINK_RATE, q->rate, LAB_LINK_PAD) ||
	    nla_put_s64(skb, LAB_LINK_DELAY, q->delay, LAB_LINK_PAD) ||
	    nla_put_u32(skb, LAB_LINK_LIMIT, q->limit) ||
	    nla_put_u32(skb, LAB_LINK_LOSS, q->loss) ||
	    nla_put_u32(skb, LAB_LINK_UP, q->up) ||
	    nla_put_u32(skb, LAB_LINK_TRACE_PERIOD, q->trace_period))
		return -EMSGSIZE;
	return nla_nest_end(skb, nest);
}

static int lab_link_dump_stats(struct Qdisc *sch, struct gnet_dump *d)
{
	struct lab_link *q = qdisc_priv(sch);
	struct lab_link_stats stats;

	sch_tree_lock(sch);
	settle(q, ktime_get_ns());
	stats = q->stats;
	stats.backlog = q->queue_bytes;
	sch_tree_unlock(sch);
	return gnet_stats_copy_app(d, &stats, sizeof(stats));
}

static struct Qdisc_ops lab_link_ops __read_mostly = {
	.id		= "lab_link",
	.priv_size	= sizeof(struct lab_link),
	.enqueue	= lab_link_enqueue,
	.dequeue	= lab_link_dequeue,
	.peek		= qdisc_peek_dequeued,
	.init		= lab_link_init,
	.reset		= lab_link_reset,
	.destroy	= lab_link_destroy,
	.change		= lab_link_change,
	.dump		= lab_link_dump,
	.dump_stats	= lab_link_dump_stats,
	.owner		= THIS_MODULE,
};

static int __init lab_link_module_init(void)
{
	return register_qdisc(&lab_link_ops);
}
module_init(lab_link_module_init);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("One direction of an emulated link");
