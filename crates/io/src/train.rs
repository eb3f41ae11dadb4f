//! Segments of one stream that the kernel can be given as one: same headers, in sequence.
//!
//! The kernel cuts a train into the very segments that it was made of (generic segmentation): sequence numbers rise by a
//! segment's length and IP identifications by one, PSH is the last one's, the rest of the headers is the first one's. So
//! a train takes in only what comes out unchanged. The checksums are the kernel's.

use smartwire_packet::csum;

/// Ethernet, IPv6 and TCP headers with all options at most.
pub(crate) const HEADERS_MAX: usize = 14 + 40 + 60;
/// Bytes of IP at most, and segments.
const BYTES_MAX: usize = 65_000;
pub(crate) const SEGMENTS_MAX: usize = 44;
const ACK: u8 = 0x10;
const PSH: u8 = 0x08;

/// A run of segments that the kernel may get as one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Train {
    /// Where the TCP header begins; the IP header begins at 14.
    tcp: usize,
    pub(crate) headers: usize,
    /// Payload of each but the last, which may have less.
    pub(crate) size: usize,
    /// Payload in all.
    payload: usize,
    pub(crate) segments: usize,
    next_seq: u32,
    next_id: u16,
    /// The last segment has PSH.
    push: bool,
    /// The last segment is a short one.
    short: bool,
}

impl Train {
    /// A train of one segment; `None`: not one that others could join (another protocol, other flags, no payload).
    pub(crate) fn of(frame: &[u8]) -> Option<Train> {
        let (tcp, end) = match *frame.get(12..15)? {
            // IPv4 without options, whole: no more fragments, no offset.
            [8, 0, 0x45] if *frame.get(23)? == 6 && word(frame, 20)? & 0x3fff == 0 => {
                (34, 14 + usize::from(word(frame, 16)?))
            }
            // IPv6 with TCP right behind.
            [0x86, 0xdd, first] if first >> 4 == 6 && *frame.get(20)? == 6 => (54, 54 + usize::from(word(frame, 18)?)),
            _ => return None,
        };
        let headers = tcp + usize::from(*frame.get(tcp + 12)? >> 4) * 4;
        let flags = *frame.get(tcp + 13)?;
        let odd = flags & !PSH != ACK || frame[tcp + 12] & 15 != 0;
        // Padding behind the segment would not come out again.
        if odd || frame.len() != end || headers >= end || headers > HEADERS_MAX {
            return None;
        }
        let size = end - headers;
        Some(Train {
            tcp,
            headers,
            size,
            payload: size,
            segments: 1,
            next_seq: long(frame, tcp + 4).wrapping_add(size as u32),
            next_id: word(frame, 18)?.wrapping_add(1),
            push: flags & PSH != 0,
            short: false,
        })
    }

    /// Lets `frame` join behind `first`, the train's first segment; `false`: it can't.
    pub(crate) fn join(&mut self, first: &[u8], frame: &[u8]) -> bool {
        let size = frame.len().saturating_sub(self.headers);
        let full = self.segments == SEGMENTS_MAX || self.headers - 14 + self.payload + size > BYTES_MAX;
        if self.push || self.short || full || size == 0 || size > self.size || !self.alike(first, frame) {
            return false;
        }
        self.payload += size;
        self.segments += 1;
        self.next_seq = self.next_seq.wrapping_add(size as u32);
        self.next_id = self.next_id.wrapping_add(1);
        self.short = size < self.size;
        self.push = frame[self.tcp + 13] & PSH != 0;
        true
    }

    fn alike(&self, first: &[u8], frame: &[u8]) -> bool {
        let (t, same) = (self.tcp, |from: usize, to: usize| first[from..to] == frame[from..to]);
        let ip = if t == 34 {
            let id = u16::from_be_bytes([frame[18], frame[19]]);
            let end = 14 + usize::from(u16::from_be_bytes([frame[16], frame[17]]));
            id == self.next_id && end == frame.len() && same(0, 16) && same(20, 24) && same(26, 34)
        } else {
            let end = 54 + usize::from(u16::from_be_bytes([frame[18], frame[19]]));
            end == frame.len() && same(0, 18) && same(20, 54)
        };
        let flags = frame[t + 13];
        // Ports; ACK and header length; window; urgent pointer and options.
        ip && long(frame, t + 4) == self.next_seq
            && flags & !PSH == ACK
            && same(t, t + 4)
            && same(t + 8, t + 13)
            && same(t + 14, t + 16)
            && same(t + 18, self.headers)
    }

    /// Where the kernel is to begin its checksum, and where in it the checksum lies.
    pub(crate) fn checksum(&self) -> (u16, u16) {
        (self.tcp as u16, 16)
    }

    /// The kernel's name for it, of linux/virtio_net.h.
    pub(crate) fn kind(&self) -> u8 {
        if self.tcp == 34 { 1 } else { 4 }
    }

    /// Writes the headers of the whole train to `out`, given those of its first segment; returns their length.
    pub(crate) fn write_headers(&self, first: &[u8], out: &mut [u8]) -> usize {
        let t = self.tcp;
        out[..self.headers].copy_from_slice(&first[..self.headers]);
        let l4 = self.headers - t + self.payload;
        let addresses = if t == 34 {
            out[16..18].copy_from_slice(&((20 + l4) as u16).to_be_bytes());
            out[24..26].fill(0);
            let sum = !csum::sum(&out[14..34]);
            out[24..26].copy_from_slice(&sum.to_be_bytes());
            26..34
        } else {
            out[18..20].copy_from_slice(&(l4 as u16).to_be_bytes());
            22..54
        };
        out[t + 13] |= PSH * u8::from(self.push);
        // The sum of the pseudo-header, for the kernel to go on from.
        let pseudo = csum::fold(u64::from(csum::sum(&out[addresses])) + 6 + l4 as u64);
        out[t + 16..t + 18].copy_from_slice(&pseudo.to_be_bytes());
        self.headers
    }
}

fn word(frame: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(frame.get(at..at + 2)?.try_into().ok()?))
}

/// Of a header that is known to be there.
fn long(frame: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([frame[at], frame[at + 1], frame[at + 2], frame[at + 3]])
}

#[cfg(test)]
mod tests {
    use super::*;
    use smartwire_packet::build::{OptionBytes, Packet};
    use smartwire_packet::tcp::Flags;

    const SIZE: usize = 1000;

    /// Segment `n` of a stream, changed by `change`.
    fn segment(v6: bool, n: u32, change: impl Fn(Packet) -> Packet) -> Vec<u8> {
        let p = Packet::new();
        let p = if v6 {
            p.ipv6("2001:db8::1".parse().unwrap(), "2001:db8::2".parse().unwrap()).flow_label(77)
        } else {
            p.ipv4("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap()).id(65_534u16.wrapping_add(n as u16))
        };
        let options = OptionBytes::new().raw(&[1, 1]).timestamps(7, 8);
        let p = p.tcp(443, 40_000).seq((u32::MAX - 1500).wrapping_add(n * SIZE as u32)).ack(5).flags(Flags::ACK).window(9);
        change(p.options(options.bytes()).payload(&[n as u8; SIZE])).build()
    }

    fn joins(v6: bool, change: impl Fn(Packet) -> Packet) -> bool {
        let first = segment(v6, 0, |p| p);
        Train::of(&first).unwrap().join(&first, &segment(v6, 1, change))
    }

    #[test]
    fn segments_in_sequence_with_the_same_headers_make_a_train() {
        for v6 in [false, true] {
            let frames: Vec<_> = (0..40).map(|n| segment(v6, n, |p| p)).collect();
            let mut train = Train::of(&frames[0]).unwrap();
            assert!(frames[1..].iter().all(|f| train.join(&frames[0], f)));
            assert_eq!((train.segments, train.payload, train.size), (40, 40 * SIZE, SIZE));
        }
    }

    #[test]
    fn what_would_not_come_out_unchanged_stays_out() {
        for v6 in [false, true] {
            assert!(joins(v6, |p| p));
            assert!(!joins(v6, |p| p.ack(6)));
            assert!(!joins(v6, |p| p.window(8)));
            assert!(!joins(v6, |p| p.seq(0)));
            assert!(!joins(v6, |p| p.ttl(9)));
            assert!(!joins(v6, |p| p.class(4)));
            assert!(!joins(v6, |p| p.flags(Flags::ACK | Flags::FIN)));
            assert!(!joins(v6, |p| p.flags(Flags::ACK | Flags::URG)));
            assert!(!joins(v6, |p| p.flags(Flags::ACK | Flags::CWR)));
            assert!(!joins(v6, |p| p.options(OptionBytes::new().raw(&[1, 1]).timestamps(8, 8).bytes())));
            assert!(!joins(v6, |p| p.options(&[])));
            assert!(!joins(v6, |p| p.payload(&[1; SIZE + 1])));
            assert!(!joins(v6, |p| p.payload(&[])));
            assert!(!joins(v6, |p| p.padding(3)));
            assert!(!joins(v6, |p| p.macs([9; 12])));
        }
        let (four, six) = (segment(false, 0, |p| p), segment(true, 1, |p| p));
        assert!(!Train::of(&four).unwrap().join(&four, &six));
        assert!(!joins(false, |p| p.id(9)));
        assert!(!joins(false, |p| p.dont_fragment(false)) || !joins(false, |p| p.dont_fragment(true)));
        assert!(!joins(true, |p| p.flow_label(78)));
    }

    #[test]
    fn a_short_segment_or_a_push_is_the_last_of_its_train() {
        for last in [|p: Packet| p.payload(&[1; 10]), |p: Packet| p.flags(Flags::ACK | Flags::PSH)] {
            let frames = [segment(false, 0, |p| p), segment(false, 1, last), segment(false, 2, |p| p)];
            let mut train = Train::of(&frames[0]).unwrap();
            assert!(train.join(&frames[0], &frames[1]));
            assert!(!train.join(&frames[0], &frames[2]));
        }
        let push = segment(true, 0, |p| p.flags(Flags::ACK | Flags::PSH));
        assert!(!Train::of(&push).unwrap().join(&push, &segment(true, 1, |p| p)));
    }

    #[test]
    fn only_plain_tcp_data_begins_a_train() {
        for v6 in [false, true] {
            assert!(Train::of(&segment(v6, 0, |p| p)).is_some());
            assert!(Train::of(&segment(v6, 0, |p| p.payload(&[]))).is_none());
            assert!(Train::of(&segment(v6, 0, |p| p.flags(Flags::ACK | Flags::FIN))).is_none());
            assert!(Train::of(&segment(v6, 0, |p| p.padding(1))).is_none());
            let whole = segment(v6, 0, |p| p);
            let tagged = [&whole[..12], &[0x81, 0, 0, 7], &whole[12..]].concat();
            assert!(Train::of(&tagged).is_none());
            (0..whole.len()).for_each(|n| assert!(Train::of(&whole[..n]).is_none()));
        }
        assert!(Train::of(&segment(false, 0, |p| p.fragment(8, true))).is_none());
        assert!(Train::of(&segment(false, 0, |p| p.ip_options(&[1, 1, 1, 1]))).is_none());
        assert!(Train::of(&segment(true, 0, |p| p.extension(60, &[0; 6]))).is_none());
    }
}
