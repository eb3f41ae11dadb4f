//! ICMP errors that quote a flow of ours. All of them go on to the endpoint; a smaller path MTU concerns us too, since
//! X no longer has the bytes that are in custody (RFC 1191, RFC 8201; guarded as RFC 5927 section 7 says).

use smartwire_packet::icmp::{Error, Kind};
use smartwire_packet::{proto, IpVersion};

use super::record::flag;
use super::{Cx, Flow};
use crate::api::{FlowKey, Io, Side};
use crate::seq::unwrap;

/// Plateaus of RFC 1191 section 7.1, for routers that don't say their MTU.
const PLATEAUS: [u16; 8] = [8166, 4352, 2002, 1492, 1006, 508, 296, 68];

/// The flow that an error quotes; it came in on `side`, so the quoted packet had come from the other one.
pub(crate) fn key(error: &Error, side: Side, scope: u64) -> Option<FlowKey> {
    let quoted = &error.quoted;
    let (src_port, dst_port) = quoted.ports?;
    if quoted.proto != proto::TCP {
        return None;
    }
    Some(super::parsed::key(side.other(), quoted.src, quoted.dst, src_port, dst_port, scope))
}

impl Flow<'_> {
    /// An error about a packet of stream `s`. The caller forwards it in any case.
    pub(crate) fn icmp<I: Io>(&mut self, cx: &mut Cx<'_, I>, s: usize, error: &Error) {
        cx.sh.stats.icmp += 1;
        let Kind::TooBig { mtu } = error.kind else { return };
        let tx = &self.act.tx[s];
        let quoted = error.quoted.seq.and_then(|seq| unwrap(self.rec.isn[s], seq, tx.una()));
        if !quoted.is_some_and(|seq| (tx.una()..tx.nxt()).contains(&seq)) {
            return;
        }
        let Some(mtu) = usable_mtu(mtu, error) else { return };
        let ip = if error.quoted.ip == IpVersion::V4 { 20 } else { 40 };
        let options = if self.rec.has(flag::TS) { 12 } else { 0 };
        let payload = mtu.saturating_sub(ip + 20 + options);
        if payload == 0 || payload >= self.rec.mss[1 - s] {
            return;
        }
        self.act.tx[s].split(&mut cx.sh.pool, payload);
        cx.sh.stats.resegmented += 1;
        self.watch_cut(cx, s);
        if s == 1 {
            self.report_flight(cx);
        }
    }
}

/// The MTU to cut for; `None` for one that no honest router would name.
fn usable_mtu(mtu: u32, error: &Error) -> Option<u16> {
    let mtu = u16::try_from(mtu).ok()?;
    match error.quoted.ip {
        // RFC 8200 section 5: no IPv6 link is smaller than 1280.
        IpVersion::V6 => (mtu >= 1280).then_some(mtu),
        IpVersion::V4 if mtu == 0 => PLATEAUS.into_iter().find(|p| *p < error.quoted.length),
        // A router below RFC 791's 576 exists, one below 68 can't.
        IpVersion::V4 => (mtu >= 68).then_some(mtu),
    }
}
