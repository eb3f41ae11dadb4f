//! Packets towards one side: the header of a held frame brought up to date in place, and packets that nobody sent.
//!
//! Only what belongs to the engine's own state is touched (invariant I3): ACK, window, timestamps, SACK blocks, ECN. The
//! checksum follows incrementally (RFC 1624), so damage to the payload in our memory stays detectable at the endpoint.

use std::ops::Range;

use smartwire_packet::build::{write_bare, Ends, OptionBytes, TcpFields, Template};
use smartwire_packet::tcp::{Flags, TcpMut};
use smartwire_packet::Ecn;

use crate::broken::{breaks, Broken};

/// What a packet towards one side carries of the engine's state for that side, as on the wire.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Fields {
    pub ack: u32,
    /// Scaled.
    pub window: u16,
    /// TSval and TSecr, where timestamps were negotiated.
    pub ts: Option<(u32, u32)>,
    pub sack: [(u32, u32); 4],
    pub sacks: u8,
    /// ECN-Echo and CWR; only looked at where ECN was negotiated.
    pub ece: bool,
    pub cwr: bool,
}

impl Fields {
    fn blocks(&self) -> &[(u32, u32)] {
        &self.sack[..usize::from(self.sacks).min(4)]
    }
}

/// Brings the TCP header of an endpoint's own segment, at `head` of its frame, up to date; `ecn`: it was negotiated.
pub(crate) fn rewrite(frame: &mut [u8], head: Range<usize>, fields: &Fields, ecn: bool) {
    let Some(mut tcp) = TcpMut::at(frame, head) else { return };
    let options = tcp.options();
    if !breaks(Broken::RawAckPassed) {
        tcp.set_ack(fields.ack);
    }
    tcp.set_window(fields.window);
    if ecn {
        let ece = if fields.ece { Flags::ECE } else { Flags::NONE };
        let cwr = if fields.cwr { Flags::CWR } else { Flags::NONE };
        tcp.set_flags(Flags::ECE | Flags::CWR, ece | cwr);
    }
    if let (Some(at), Some((val, ecr))) = (options.ts, fields.ts) {
        tcp.set_timestamps(at.at, if breaks(Broken::NoRatchet) { at.val } else { val }, ecr);
    }
    if options.sack.at != 0 && !breaks(Broken::SackNotRenewed) {
        tcp.set_sack(options.sack.at, fields.blocks());
    }
}

/// Writes a packet without payload to the start of `out`; its length, or `None` if it does not fit.
pub(crate) fn bare(
    out: &mut [u8],
    path: &Template,
    ends: &Ends,
    (src_port, dst_port): (u16, u16),
    (seq, ip_id): (u32, u16),
    flags: Flags,
    fields: &Fields,
) -> Option<u16> {
    let mut options = OptionBytes::new();
    if !flags.contains(Flags::RST) {
        if let Some((val, ecr)) = fields.ts {
            options = options.timestamps(val, ecr);
        }
        options = options.sack(fields.blocks());
    }
    let echo = if fields.ece { Flags::ECE } else { Flags::NONE };
    let tcp = TcpFields {
        src_port,
        dst_port,
        seq,
        ack: fields.ack,
        flags: flags | echo,
        window: fields.window,
        ip_id,
        // Pure ACKs, probes and resets are never ECN-capable (RFC 3168 section 6.1.4 to 6.1.6).
        ecn: Ecn::NotEct,
    };
    write_bare(out, path, ends, &tcp, options.bytes()).ok().map(|len| len as u16)
}
