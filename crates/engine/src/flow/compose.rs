//! Packets towards one side: the header of a held frame brought up to date in place, and packets that nobody sent.
//!
//! Only what belongs to the engine's own state is touched (invariant I3): ACK, window, timestamps, SACK blocks, ECN. The
//! checksum follows incrementally (RFC 1624), so damage to the payload in our memory stays detectable at the endpoint.

use smartwire_packet::build::{write_tcp, OptionBytes, Template, TcpFields};
use smartwire_packet::tcp::{Flags, Options, TcpMut};
use smartwire_packet::{Ecn, Layers};

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

/// Brings the headers of an endpoint's own segment up to date. `ecn` is what its IP header shall say, where ECN was
/// negotiated.
pub(crate) fn rewrite(frame: &mut [u8], layers: &Layers, fields: &Fields, options: &Options, ecn: Option<Ecn>) {
    if let Some(ecn) = ecn {
        layers.set_ecn(frame, ecn);
    }
    let Some(mut tcp) = TcpMut::new(frame, layers) else { return };
    tcp.set_ack(fields.ack);
    tcp.set_window(fields.window);
    if ecn.is_some() {
        let ece = if fields.ece { Flags::ECE } else { Flags::NONE };
        let cwr = if fields.cwr { Flags::CWR } else { Flags::NONE };
        tcp.set_flags(Flags::ECE | Flags::CWR, ece | cwr);
    }
    if let (Some(at), Some((val, ecr))) = (options.ts, fields.ts) {
        tcp.set_timestamps(at.at, val, ecr);
    }
    if options.sack.at != 0 {
        tcp.set_sack(options.sack.at, fields.blocks());
    }
}

/// Writes a packet without payload to the start of `out`; its length, or `None` if it does not fit.
pub(crate) fn bare(
    out: &mut [u8],
    path: &Template,
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
    write_tcp(out, path, &tcp, options.bytes(), &[]).ok().map(|len| len as u16)
}
