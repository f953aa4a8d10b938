// SPDX-License-Identifier: GPL-2.0
/*
 * The air between the radios of mac80211_hwsim.
 *
 * Without it every radio hears every other one of its channel, perfectly and in
 * no time. Here each ordered pair of radios that may hear each other has an entry,
 * set over netlink:
 *
 *   data frames -> [ queue, LIMIT bytes ] -> server, RATE -> loss -> the receiver
 *
 * Frames with a payload take the time that RATE says; all others (management,
 * beacons, null frames) take none and are not lost. The size that counts is that
 * of the IP packet, as in lab_link: 8 Mbit/s carry 8 Mbit/s of IP, and what the
 * radio spends on preambles, acknowledgements and retries is already taken off.
 * A pair without an entry, or with one that is down, hears nothing.
 *
 * The server rests while the receiver is asleep: mac80211 tells the driver of an
 * access point when a station has sent a frame with the power management bit, and
 * buffers what comes after it.
 *
 * A radio with several channel contexts, which the driver lets hear all of their
 * channels at once, can be TUNED to one of them. A hop is two commands: tune to
 * nothing, which sends a null frame with the power management bit to the access
 * points of the channel that is left, and later tune to the other channel, which
 * sends a null frame without it there. Nothing is sent in between but management
 * frames: to hear beacons and to associate costs such a radio nothing.
 */
#include <linux/hrtimer.h>
#include <linux/prandom.h>
#include <linux/slab.h>
#include <net/genetlink.h>
#include "mac80211_hwsim_i.h"
#include "mac80211_hwsim_air.h"

/* Rate of a server that takes no time. */
#define RATE_UNLIMITED U64_MAX

#define LLC_BYTES 8	/* between the 802.11 header and the IP packet */
#define CCMP_BYTES 16	/* header and integrity check, of protected frames */

struct air {
	struct list_head list;	/* of the sender */
	struct mac80211_hwsim_data *from, *to;
	struct ieee80211_channel *chan;

	s32 signal;
	u64 rate;		/* bytes per second; 0: nothing is served */
	u32 limit;
	u32 loss;
	bool up;
	bool asleep;
	struct rnd_state prng;

	struct sk_buff_head queue;
	u64 queue_bytes;
	u64 head_left;		/* bytes * NSEC_PER_SEC that the head still needs */
	u64 served_until;	/* ns up to which the server's work is accounted */
	struct hrtimer timer;
	struct hwsim_air_stats stats;
};

/* Of all entries; taken inside hwsim_radio_lock, never around it. */
static DEFINE_SPINLOCK(air_lock);

/* Set with the first entry: from then on there is no perfect medium. */
static bool air_used;

static struct air *find_air(struct mac80211_hwsim_data *from, struct mac80211_hwsim_data *to)
{
	struct air *air;

	list_for_each_entry(air, &from->air, list)
		if (air->to == to)
			return air;
	return NULL;
}

/* The addresses of a radio's interfaces differ in the first and in the last byte only. */
static struct air *find_air_to(struct mac80211_hwsim_data *from, const u8 *addr)
{
	struct air *air;

	list_for_each_entry(air, &from->air, list)
		if (!memcmp(air->to->addresses[0].addr + 1, addr + 1, ETH_ALEN - 2))
			return air;
	return NULL;
}

static bool is_tuned_to(const struct mac80211_hwsim_data *data,
			const struct ieee80211_channel *chan)
{
	return !data->tuned || data->tuned == chan->center_freq || data->tmp_chan == chan;
}

static bool is_serving(const struct air *air)
{
	return air->up && !air->asleep && air->rate && air->chan &&
	       is_tuned_to(air->from, air->chan);
}

static u32 ip_bytes(const struct sk_buff *skb)
{
	const struct ieee80211_hdr *hdr = (const void *)skb->data;
	u32 around = ieee80211_hdrlen(hdr->frame_control) + LLC_BYTES;

	if (ieee80211_has_protected(hdr->frame_control))
		around += CCMP_BYTES;
	return skb->len > around ? skb->len - around : 1;
}

static void load_head(struct air *air)
{
	struct sk_buff *skb = skb_peek(&air->queue);

	if (skb)
		air->head_left = (u64)ip_bytes(skb) * NSEC_PER_SEC;
}

static u64 head_done_at(const struct air *air)
{
	if (air->rate == RATE_UNLIMITED)
		return air->served_until;
	return air->served_until + DIV64_U64_ROUND_UP(air->head_left, air->rate);
}

/* Do the work up to now; frames that are through go to `done`. */
static void settle(struct air *air, u64 now, struct sk_buff_head *done)
{
	while (is_serving(air) && !skb_queue_empty(&air->queue)) {
		u64 at = head_done_at(air);
		struct sk_buff *skb;

		if (at > now) {
			air->head_left -= (now - air->served_until) * air->rate;
			break;
		}
		air->stats.busy_ns += at - air->served_until;
		air->served_until = at;
		skb = __skb_dequeue(&air->queue);
		air->queue_bytes -= ip_bytes(skb);
		__skb_queue_tail(done, skb);
		load_head(air);
	}
	if (is_serving(air) && !skb_queue_empty(&air->queue))
		air->stats.busy_ns += now - air->served_until;
	air->served_until = now;
}

static void await_head(struct air *air)
{
	if (is_serving(air) && !skb_queue_empty(&air->queue))
		hrtimer_start(&air->timer, ns_to_ktime(head_done_at(air)), HRTIMER_MODE_ABS_SOFT);
	else
		hrtimer_try_to_cancel(&air->timer);
}

static void report(struct air *air, struct sk_buff *skb, bool ack)
{
	struct ieee80211_tx_info *txi = IEEE80211_SKB_CB(skb);

	ieee80211_tx_info_clear_status(txi);
	txi->control.rates[0].count = 1;
	txi->control.rates[1].idx = -1;
	if (ack && !(txi->flags & IEEE80211_TX_CTL_NO_ACK))
		txi->flags |= IEEE80211_TX_STAT_ACK;
	ieee80211_tx_status_irqsafe(air->from->hw, skb);
}

static void deliver(struct air *air, struct sk_buff_head *done)
{
	struct sk_buff *skb;

	while ((skb = __skb_dequeue(done))) {
		u32 bytes = ip_bytes(skb);
		bool ack = false;

		air->from->tx_pkts++;
		air->from->tx_bytes += skb->len;
		if (air->loss && prandom_u32_state(&air->prng) < air->loss)
			air->stats.dropped_loss++;
		else
			ack = mac80211_hwsim_tx_frame_no_nl(air->from->hw, skb, air->chan);
		if (ack) {
			air->stats.packets++;
			air->stats.delivered_bytes += bytes;
		} else {
			air->stats.unacknowledged++;
			if (!is_tuned_to(air->to, air->chan))
				air->stats.missed++;
		}
		report(air, skb, ack);
	}
}

static enum hrtimer_restart air_timer(struct hrtimer *timer)
{
	struct air *air = container_of(timer, struct air, timer);
	struct sk_buff_head done;

	__skb_queue_head_init(&done);
	spin_lock_bh(&air_lock);
	settle(air, ktime_get_ns(), &done);
	await_head(air);
	spin_unlock_bh(&air_lock);
	deliver(air, &done);
	return HRTIMER_NORESTART;
}

/* Take over a frame of a driver's tx; false: it has to go the usual way. */
bool hwsim_air_queue(struct mac80211_hwsim_data *data, struct sk_buff *skb,
		     struct ieee80211_channel *chan)
{
	struct ieee80211_hdr *hdr = (void *)skb->data;
	struct sk_buff_head done;
	struct air *air;
	u32 bytes;

	if (!is_unicast_ether_addr(hdr->addr1) || !ieee80211_is_data(hdr->frame_control))
		return false;
	air = find_air_to(data, hdr->addr1);
	if (!air)
		return false;
	if (!ieee80211_is_data_present(hdr->frame_control)) {
		if (is_tuned_to(data, chan))
			return false;
		/* After a scan mac80211 asks whether the access point is there, on a
		 * channel that the radio is not on: it was there a slot ago.
		 */
		report(air, skb, true);
		return true;
	}
	__skb_queue_head_init(&done);
	bytes = ip_bytes(skb);
	spin_lock_bh(&air_lock);
	settle(air, ktime_get_ns(), &done);
	air->chan = chan;
	if (!air->up) {
		air->stats.dropped_down++;
		spin_unlock_bh(&air_lock);
		report(air, skb, false);
		return true;
	}
	if (air->queue_bytes + bytes > air->limit) {
		air->stats.dropped_full++;
		spin_unlock_bh(&air_lock);
		ieee80211_free_txskb(data->hw, skb);
		return true;
	}
	/* What waits here has left the sender's host. */
	skb_orphan(skb);
	__skb_queue_tail(&air->queue, skb);
	air->queue_bytes += bytes;
	air->stats.max_backlog = max(air->stats.max_backlog, air->queue_bytes);
	if (skb_queue_len(&air->queue) == 1)
		load_head(air);
	settle(air, air->served_until, &done);
	await_head(air);
	spin_unlock_bh(&air_lock);
	deliver(air, &done);
	return true;
}

/* Whether a radio hears a frame, and how loud; called with hwsim_radio_lock. */
bool hwsim_air_hears(struct mac80211_hwsim_data *from, struct mac80211_hwsim_data *to,
		     struct ieee80211_channel *chan, __le16 frame_control,
		     struct ieee80211_rx_status *status)
{
	struct air *air;

	if (!air_used)
		return true;
	air = find_air(from, to);
	if (!air || !air->up)
		return false;
	if (!ieee80211_is_mgmt(frame_control) &&
	    (!is_tuned_to(from, chan) || !is_tuned_to(to, chan)))
		return false;
	status->signal = air->signal;
	return true;
}

static void purge(struct air *air, struct sk_buff_head *lost)
{
	skb_queue_splice_tail_init(&air->queue, lost);
	air->queue_bytes = 0;
	await_head(air);
}

/* Say whether a station sleeps. */
void hwsim_air_sleep(struct mac80211_hwsim_data *data, const u8 *addr, bool asleep)
{
	struct air *air = find_air_to(data, addr);
	struct sk_buff_head done;

	if (!air)
		return;
	__skb_queue_head_init(&done);
	spin_lock_bh(&air_lock);
	settle(air, ktime_get_ns(), &done);
	air->asleep = asleep;
	await_head(air);
	spin_unlock_bh(&air_lock);
	deliver(air, &done);
}

/* Forget what waits for a station that has gone. */
void hwsim_air_forget(struct mac80211_hwsim_data *data, const u8 *addr)
{
	struct air *air = find_air_to(data, addr);
	struct sk_buff_head lost;
	struct sk_buff *skb;

	if (!air)
		return;
	__skb_queue_head_init(&lost);
	spin_lock_bh(&air_lock);
	air->asleep = false;
	air->stats.dropped_gone += skb_queue_len(&air->queue);
	purge(air, &lost);
	spin_unlock_bh(&air_lock);
	while ((skb = __skb_dequeue(&lost)))
		ieee80211_free_txskb(data->hw, skb);
}

void hwsim_air_init(struct mac80211_hwsim_data *data)
{
	INIT_LIST_HEAD(&data->air);
}

static void free_air(struct air *air)
{
	struct sk_buff *skb;

	list_del(&air->list);
	hrtimer_cancel(&air->timer);
	while ((skb = __skb_dequeue(&air->queue)))
		ieee80211_free_txskb(air->from->hw, skb);
	kfree(air);
}

/* The radio is about to go, and has left the list of radios. */
void hwsim_air_exit(struct mac80211_hwsim_data *data)
{
	struct mac80211_hwsim_data *other;
	struct air *air, *next;

	list_for_each_entry_safe(air, next, &data->air, list)
		free_air(air);
	list_for_each_entry(other, &hwsim_radios, list)
		list_for_each_entry_safe(air, next, &other->air, list)
			if (air->to == data)
				free_air(air);
}

static struct mac80211_hwsim_data *radio(u32 idx)
{
	struct mac80211_hwsim_data *data, *found = NULL;

	spin_lock_bh(&hwsim_radio_lock);
	list_for_each_entry(data, &hwsim_radios, list)
		if (data->idx == idx)
			found = data;
	spin_unlock_bh(&hwsim_radio_lock);
	return found;
}

static struct air *new_air(struct mac80211_hwsim_data *from, struct mac80211_hwsim_data *to,
			   u64 seed)
{
	struct air *air = kzalloc_obj(*air);

	if (!air)
		return NULL;
	air->from = from;
	air->to = to;
	skb_queue_head_init(&air->queue);
	prandom_seed_state(&air->prng, seed);
	hrtimer_setup(&air->timer, air_timer, CLOCK_MONOTONIC, HRTIMER_MODE_ABS_SOFT);
	air->served_until = ktime_get_ns();
	spin_lock_bh(&hwsim_radio_lock);
	list_add_tail(&air->list, &from->air);
	air_used = true;
	spin_unlock_bh(&hwsim_radio_lock);
	return air;
}

static int set_air(const struct hwsim_air_setting *wanted, struct genl_info *info)
{
	struct mac80211_hwsim_data *from = radio(wanted->from), *to = radio(wanted->to);
	struct sk_buff_head done, lost;
	struct sk_buff *skb;
	struct air *air;

	if (!from || !to || from == to) {
		GENL_SET_ERR_MSG(info, "there are no such two radios");
		return -ENODEV;
	}
	air = find_air(from, to);
	if (!air)
		air = new_air(from, to, wanted->seed);
	if (!air)
		return -ENOMEM;
	__skb_queue_head_init(&done);
	__skb_queue_head_init(&lost);
	spin_lock_bh(&air_lock);
	settle(air, ktime_get_ns(), &done);
	air->signal = wanted->signal;
	air->rate = wanted->rate;
	air->limit = wanted->limit;
	air->loss = wanted->loss;
	air->up = wanted->up;
	if (!air->up) {
		air->stats.dropped_down += skb_queue_len(&air->queue);
		purge(air, &lost);
	}
	await_head(air);
	spin_unlock_bh(&air_lock);
	local_bh_disable();
	deliver(air, &done);
	while ((skb = __skb_dequeue(&lost)))
		report(air, skb, false);
	local_bh_enable();
	return 0;
}

int hwsim_air_set_nl(struct sk_buff *msg, struct genl_info *info)
{
	struct nlattr *attr = info->attrs[HWSIM_ATTR_AIR];
	const struct hwsim_air_setting *wanted;
	int left, err;

	if (!attr || nla_len(attr) % sizeof(*wanted)) {
		GENL_SET_ERR_MSG(info, "no whole entries");
		return -EINVAL;
	}
	wanted = nla_data(attr);
	for (left = nla_len(attr); left; left -= sizeof(*wanted)) {
		err = set_air(wanted++, info);
		if (err)
			return err;
	}
	return 0;
}

int hwsim_air_get_nl(struct sk_buff *msg, struct genl_info *info)
{
	struct mac80211_hwsim_data *data;
	struct hwsim_air_count *count;
	struct sk_buff *answer;
	struct nlattr *attr;
	int number = 0;
	struct air *air;
	void *head;

	spin_lock_bh(&hwsim_radio_lock);
	list_for_each_entry(data, &hwsim_radios, list)
		number += list_count_nodes(&data->air);
	spin_unlock_bh(&hwsim_radio_lock);
	answer = genlmsg_new(nla_total_size(number * sizeof(*count)), GFP_KERNEL);
	if (!answer)
		return -ENOMEM;
	head = genlmsg_iput(answer, info);
	attr = head ? nla_reserve(answer, HWSIM_ATTR_AIR, number * sizeof(*count)) : NULL;
	if (!attr) {
		nlmsg_free(answer);
		return -EMSGSIZE;
	}
	count = nla_data(attr);
	spin_lock_bh(&hwsim_radio_lock);
	list_for_each_entry(data, &hwsim_radios, list)
		list_for_each_entry(air, &data->air, list) {
			if (!number--)
				break;
			count->from = air->from->idx;
			count->to = air->to->idx;
			count->stats = air->stats;
			count->stats.backlog = air->queue_bytes;
			count++;
		}
	spin_unlock_bh(&hwsim_radio_lock);
	genlmsg_end(answer, head);
	return genlmsg_reply(answer, info);
}

struct hop {
	struct mac80211_hwsim_data *data;
	u32 freq;
	bool asleep;
};

static void tell_power_save(void *_hop, u8 *mac, struct ieee80211_vif *vif)
{
	struct hop *hop = _hop;
	struct ieee80211_chanctx_conf *conf;

	conf = rcu_dereference(vif->bss_conf.chanctx_conf);
	if (conf && (!hop->freq || conf->def.chan->center_freq == hop->freq))
		hwsim_send_nullfunc(hop->data, mac, vif, hop->asleep);
}

static void tune(struct mac80211_hwsim_data *data, u32 freq)
{
	struct sk_buff_head done;
	struct air *air;

	list_for_each_entry(air, &data->air, list) {
		__skb_queue_head_init(&done);
		spin_lock_bh(&air_lock);
		settle(air, ktime_get_ns(), &done);
		spin_unlock_bh(&air_lock);
		deliver(air, &done);
	}
	data->tuned = freq;
	spin_lock_bh(&air_lock);
	list_for_each_entry(air, &data->air, list)
		if (air->chan)
			await_head(air);
	spin_unlock_bh(&air_lock);
}

int hwsim_air_tune_nl(struct sk_buff *msg, struct genl_info *info)
{
	struct mac80211_hwsim_data *data = NULL;
	struct hop hop;

	if (info->attrs[HWSIM_ATTR_RADIO_ID])
		data = radio(nla_get_u32(info->attrs[HWSIM_ATTR_RADIO_ID]));
	if (!data || !info->attrs[HWSIM_ATTR_FREQ]) {
		GENL_SET_ERR_MSG(info, "name a radio and a frequency");
		return -EINVAL;
	}
	hop.data = data;
	hop.freq = nla_get_u32(info->attrs[HWSIM_ATTR_FREQ]);
	hop.asleep = hop.freq == HWSIM_AIR_NOWHERE;
	local_bh_disable();
	if (hop.asleep) {
		hop.freq = data->tuned;
		ieee80211_iterate_active_interfaces_atomic(data->hw, IEEE80211_IFACE_ITER_NORMAL,
							   tell_power_save, &hop);
		tune(data, HWSIM_AIR_NOWHERE);
	} else {
		tune(data, hop.freq);
		ieee80211_iterate_active_interfaces_atomic(data->hw, IEEE80211_IFACE_ITER_NORMAL,
							   tell_power_save, &hop);
	}
	local_bh_enable();
	return 0;
}
