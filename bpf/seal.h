/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What XDP tells tc ingress of a packet that it let go on: that its prerouting rules have judged and counted it, and what they said.
 * It is in front of the frame, in the metadata of skb and xdp_md, which do not travel between machines. But where a tunnel takes its
 * headers off, tc sees in their place what came from the wire; hence the key, a number that is drawn when a generation is loaded.
 * A generation believes its own XDP program only: a packet that a flip overtakes is judged by both. GRO joins no packets with
 * different metadata.
 */
#ifndef BPFWALL_SEAL_H
#define BPFWALL_SEAL_H

#define SEAL_VERDICT 0xffff
#define SEAL_NOTRACK 0x10000
#define SEAL_COOKIE 0x20000

struct seal {
	__u64 key;	/* own_seal; 0: not judged */
	__u32 ifindex;	/* where: the packet may go through further interfaces, a VLAN's */
	__u32 said;	/* enum fw_verdict, and enum reject_with << 8; SEAL_NOTRACK, SEAL_COOKIE */
};

#endif
