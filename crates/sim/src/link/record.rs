//! What happened to each packet of a link, for the reports.

/// What the link must know of a packet beside its size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Class {
    /// Which flow it belongs to (any stable number); start-of-flow loss counts per flow.
    pub flow: u64,
    /// TCP (or UDP) payload bytes; 0 for a pure ACK.
    pub payload: u32,
    /// Anything of the caller's; it comes back in the samples.
    pub tag: u64,
}

/// How a packet's time in the link ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    /// It left the queue and crosses.
    Crossed,
    /// The queue was full.
    QueueFull,
    /// The policer's bucket was empty.
    Policed,
    /// Larger than the link's MTU.
    TooBig,
    /// Lost on the air at random.
    Lost,
    /// Lost on the air in a burst.
    BurstLost,
    /// Lost as one of a flow's first data frames.
    FirstLost,
}

impl Fate {
    /// Every fate, in the order of its index.
    pub const ALL: [Fate; 7] = [
        Fate::Crossed,
        Fate::QueueFull,
        Fate::Policed,
        Fate::TooBig,
        Fate::Lost,
        Fate::BurstLost,
        Fate::FirstLost,
    ];

    /// The name as it stands in reports.
    pub fn name(self) -> &'static str {
        match self {
            Fate::Crossed => "crossed",
            Fate::QueueFull => "queue_full",
            Fate::Policed => "policed",
            Fate::TooBig => "too_big",
            Fate::Lost => "lost",
            Fate::BurstLost => "burst_lost",
            Fate::FirstLost => "first_lost",
        }
    }
}

/// One packet's passage. Times are ns of the clock that drives the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// When it came.
    pub enqueued_ns: u64,
    /// When it left the queue (when it was dropped, if it never did).
    pub left_ns: u64,
    /// The wait that it would have had in an empty queue: to the next slot, to the end of a freeze, or to be
    /// serialised. Queueing delay less this is what the traffic did to itself.
    pub empty_wait_ns: u64,
    /// Its size, IP bytes.
    pub bytes: u32,
    /// Its class.
    pub class: Class,
    /// What became of it.
    pub fate: Fate,
}

impl Sample {
    /// Time in the queue, ns.
    pub fn queue_ns(&self) -> u64 {
        self.left_ns - self.enqueued_ns
    }

    /// Queueing delay less the wait in an empty queue, ns.
    pub fn self_inflicted_ns(&self) -> u64 {
        self.queue_ns().saturating_sub(self.empty_wait_ns)
    }
}

/// Totals of one link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Packets and bytes per fate, in the order of [`Fate::ALL`].
    pub by_fate: [(u64, u64); 7],
    /// Copies made.
    pub duplicated: u64,
    /// Packets with flipped bits.
    pub corrupted: u64,
    /// Largest queue seen, bytes.
    pub peak_queue_bytes: u64,
}

impl Totals {
    /// Packets that met this fate.
    pub fn packets(&self, fate: Fate) -> u64 {
        self.by_fate[fate as usize].0
    }

    /// Bytes that met this fate.
    pub fn bytes(&self, fate: Fate) -> u64 {
        self.by_fate[fate as usize].1
    }

    /// Packets that did not cross.
    pub fn dropped(&self) -> u64 {
        self.by_fate[1..].iter().map(|f| f.0).sum()
    }
}
