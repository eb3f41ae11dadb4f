//! How a model endpoint behaves, and what its application does.

use serde::{Deserialize, Serialize};

/// Congestion control of a model sender.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CcKind {
    /// CUBIC (RFC 9438).
    #[default]
    Cubic,
    /// BBR version 1, as in Linux.
    Bbr,
    /// Reno (RFC 5681).
    Reno,
}

impl CcKind {
    /// The algorithm of this name; the error lists the names.
    pub fn parse(name: &str) -> Result<CcKind, String> {
        match name {
            "cubic" => Ok(CcKind::Cubic),
            "bbr" => Ok(CcKind::Bbr),
            "reno" => Ok(CcKind::Reno),
            _ => Err(format!("there is no congestion control {name:?}: choose cubic, bbr or reno")),
        }
    }
}

/// One TCP endpoint. Times in ns, sizes in bytes.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TcpConfig {
    /// Segment size announced, and never exceeded.
    pub mss: u16,
    /// Offers timestamps (RFC 7323).
    pub ts: bool,
    /// Offers SACK (RFC 2018).
    pub sack: bool,
    /// Offers window scaling with this shift.
    pub ws: Option<u8>,
    /// Offers ECN (RFC 3168) and marks its data ECT(0).
    pub ecn: bool,
    /// Initial window, segments (RFC 6928).
    pub iw: u32,
    /// Receive buffer: the window never exceeds it.
    pub rcv_buf: u64,
    /// The window begins at 64 kB and grows as data comes in, up to the buffer, as Linux's does; otherwise all of the
    /// buffer is offered at once.
    pub autotune: bool,
    /// Congestion control.
    pub cc: CcKind,
    /// Leaves slow start when the delay grows (HyStart), CUBIC only.
    pub hystart: bool,
    /// Tail loss probes (RFC 8985).
    pub tlp: bool,
    /// Longest delay of an ACK.
    pub delack_ns: u64,
    /// One ACK per so many full segments; more than 2 is a stretch ACK.
    pub ack_every: u32,
    /// Lower bound of the retransmission timeout.
    pub min_rto_ns: u64,
    /// Probes an idle connection this often (RFC 9293 3.8.4).
    pub keepalive_ns: Option<u64>,
    /// Initial sequence number.
    pub isn: u32,
    /// Timestamp clock at time 0; it ticks in ms.
    pub ts_at_zero: u32,
    /// Option bytes added to the SYN or SYN-ACK: TFO, MPTCP, MD5, unknown ones.
    #[serde(skip)]
    pub syn_options: &'static [u8],
    /// Payload bytes that the SYN carries; the peer ignores them, and they are sent again.
    pub syn_data: u16,
    /// Asks for accurate ECN (RFC 9768): AE, CWR and ECE in the SYN.
    pub accecn: bool,
    /// Quirk: now and then forgets out-of-order data that it has acknowledged with SACK (RFC 2018 section 8).
    pub renege: f64,
    /// Quirk: once this many bytes are in, the window shrinks to a quarter (RFC 9293 discourages it).
    pub shrink_after: Option<u64>,
    /// Quirk: sends nothing for so long whenever it is shown a zero window, ns.
    pub zero_window_pause_ns: u64,
    /// Quirk: this share of its ACKs announces a part of the window only, or none; later ones take that back.
    pub window_games: f64,
    /// Quirk: acknowledges in so many steps what it could acknowledge at once (RFC 3465 section 2.1); 0 or 1: it does not.
    pub divide_acks: u32,
    /// Reports with SACK on its data too, and leaves room for that (as Linux does).
    pub sack_on_data: bool,
}

impl Default for TcpConfig {
    fn default() -> TcpConfig {
        TcpConfig {
            mss: 1460,
            ts: true,
            sack: true,
            ws: Some(9),
            ecn: false,
            iw: 10,
            rcv_buf: 16 << 20,
            autotune: true,
            cc: CcKind::Cubic,
            hystart: true,
            tlp: true,
            delack_ns: 40_000_000,
            ack_every: 2,
            min_rto_ns: 200_000_000,
            keepalive_ns: None,
            isn: 1000,
            ts_at_zero: 1_000_000,
            syn_options: &[],
            syn_data: 0,
            accecn: false,
            renege: 0.0,
            shrink_after: None,
            zero_window_pause_ns: 0,
            window_games: 0.0,
            divide_acks: 0,
            sack_on_data: false,
        }
    }
}

/// What an application does next. Steps are carried out in order, each when the one before is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Writes so many bytes; done at once.
    Send(u64),
    /// Waits until so many bytes in all have been read.
    Expect(u64),
    /// Waits until everything written is acknowledged.
    Flushed,
    /// Waits.
    Wait(u64),
    /// Waits until this instant.
    Until(u64),
    /// Waits for the peer's FIN.
    Eof,
    /// Sends no more (half close); reading goes on.
    Fin,
    /// Resets the connection.
    Reset,
    /// Stops reading: what arrives stays in the receive buffer.
    StopReading,
    /// Reads again.
    Read,
}
