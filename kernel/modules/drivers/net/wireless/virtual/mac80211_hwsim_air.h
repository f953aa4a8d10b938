/* SPDX-License-Identifier: GPL-2.0 */
/* The air between the radios of mac80211_hwsim; see mac80211_hwsim_air.c. */
#ifndef __MAC80211_HWSIM_AIR_H
#define __MAC80211_HWSIM_AIR_H

/* The frequency of a radio between two channels. */
#define HWSIM_AIR_NOWHERE 1

/* HWSIM_CMD_SET_AIR: an array of these in HWSIM_ATTR_AIR. */
struct hwsim_air_setting {
	u32 from, to;		/* HWSIM_ATTR_RADIO_ID of each */
	s32 signal;		/* dBm */
	u32 up;
	u64 rate;		/* bytes per second; U64_MAX: unlimited */
	u32 limit;		/* bytes waiting or being served */
	u32 loss;		/* probability in units of 2^-32 */
	u64 seed;		/* of the losses; for a new entry */
};

/* The first eight as those of lab_link. */
struct hwsim_air_stats {
	u64 dropped_full;
	u64 dropped_loss;
	u64 dropped_down;
	u64 delivered_bytes;
	u64 packets;
	u64 max_backlog;
	u64 busy_ns;
	u64 backlog;
	u64 unacknowledged;	/* sent to a radio that did not take them, or lost */
	u64 dropped_gone;	/* waited for a station that was forgotten */
	u64 missed;		/* of the unacknowledged: the receiver was on another channel */
};

/* HWSIM_CMD_GET_AIR: an array of these in HWSIM_ATTR_AIR. */
struct hwsim_air_count {
	u32 from, to;
	struct hwsim_air_stats stats;
};

struct mac80211_hwsim_data;

void hwsim_air_init(struct mac80211_hwsim_data *data);
void hwsim_air_exit(struct mac80211_hwsim_data *data);
bool hwsim_air_queue(struct mac80211_hwsim_data *data, struct sk_buff *skb,
		     struct ieee80211_channel *chan);
bool hwsim_air_hears(struct mac80211_hwsim_data *from, struct mac80211_hwsim_data *to,
		     struct ieee80211_channel *chan, __le16 frame_control,
		     struct ieee80211_rx_status *status);
void hwsim_air_sleep(struct mac80211_hwsim_data *data, const u8 *addr, bool asleep);
void hwsim_air_forget(struct mac80211_hwsim_data *data, const u8 *addr);
int hwsim_air_set_nl(struct sk_buff *msg, struct genl_info *info);
int hwsim_air_get_nl(struct sk_buff *msg, struct genl_info *info);
int hwsim_air_tune_nl(struct sk_buff *msg, struct genl_info *info);

#endif /* __MAC80211_HWSIM_AIR_H */
