//! Why a frame has no [`Layers`](crate::Layers).

use std::fmt;

macro_rules! refusals {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal;)+) => {
        /// Why a frame could not be understood. Such a frame is not damaged as far as a wire is concerned: it is
        /// forwarded as it came.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Refusal {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Refusal {
            /// Every refusal, in numeric order: for counters.
            pub const ALL: &'static [Refusal] = &[$(Refusal::$name,)+];

            /// What it means, in a few words.
            pub fn text(self) -> &'static str {
                match self {
                    $(Refusal::$name => $text,)+
                }
            }
        }
    };
}

refusals! {
    /// Shorter than an Ethernet header, or ends within a tag, label or session header.
    LinkTruncated = "frame ends within its link headers";
    /// Longer than 65,535 bytes, which is more than any offset here can say.
    TooLong = "frame longer than 65535 bytes";
    /// The EtherType is none that carries IP (ARP, LLDP, ...), or a length (LLC).
    NotIp = "EtherType carries no IP";
    /// More VLAN tags than the limit.
    TooManyTags = "too many VLAN tags";
    /// More MPLS labels than the limit.
    TooManyLabels = "too many MPLS labels";
    /// What follows the last label begins with neither 4 nor 6.
    MplsPayload = "MPLS payload is not IP";
    /// A PPPoE header of another version, type or code, or with a length that doesn't fit.
    PppoeHeader = "bad PPPoE session header";
    /// A PPP protocol other than IPv4 and IPv6 (LCP, IPCP, ...).
    PppProtocol = "PPP protocol is not IP";
    /// The version field contradicts what the layer below promised.
    IpVersion = "IP version does not match";
    /// An IPv4 header that is cut short or has a bad header length.
    Ipv4Header = "bad IPv4 header";
    /// The IPv4 total length is less than its header or more than what arrived.
    Ipv4Length = "bad IPv4 total length";
    /// An IPv6 header that is cut short.
    Ipv6Header = "bad IPv6 header";
    /// The IPv6 payload length is more than what arrived, or the jumbogram form.
    Ipv6Length = "bad IPv6 payload length";
    /// An IPv6 extension header that is cut short.
    Ipv6Extension = "bad IPv6 extension header";
    /// More IPv6 extension headers than the limit.
    TooManyExtensions = "too many IPv6 extension headers";
    /// More nested tunnels than the limit.
    TooManyTunnels = "too many nested tunnels";
    /// A GTP-U G-PDU whose length or optional fields don't fit.
    GtpHeader = "bad GTP-U header";
    /// More GTP-U extension headers than the limit, or one of length zero.
    GtpExtension = "bad GTP-U extension header";
    /// A G-PDU that carries something that is not IP.
    GtpPayload = "GTP-U payload is not IP";
    /// A UDP header that is cut short.
    UdpHeader = "bad UDP header";
    /// A TCP header that is cut short, or whose data offset doesn't fit.
    TcpHeader = "bad TCP header";
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl std::error::Error for Refusal {}
