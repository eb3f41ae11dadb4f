/* The link header, where the kernel has lost it. */
#ifndef SMARTWIRE_LINK_H
#define SMARTWIRE_LINK_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

/* Generic XDP in newer kernels hands on a copy of the frame without the length of its link header (mac_len is not among
 * what skb_pp_cow_data copies; seen on 6.18), and tc then begins at the IP header. The link header is still there:
 * put it back in front. Tagged frames are right, as taking the tag out sets the length. */
static __always_inline int sw_mend_link_header(struct __sk_buff *skb)
{
	__u32 link[4] = {}, data[4] = {};

	if (bpf_skb_load_bytes_relative(skb, 0, link, 14, BPF_HDR_START_MAC))
		return -1;
	if (!bpf_skb_load_bytes(skb, 0, data, 14) && link[0] == data[0] && link[1] == data[1] && link[2] == data[2] &&
	    link[3] == data[3])
		return 0;
	return bpf_skb_change_head(skb, 14, 0) || bpf_skb_store_bytes(skb, 0, link, 14, 0);
}

#endif
