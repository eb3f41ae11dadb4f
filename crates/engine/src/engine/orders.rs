//! Orders, and what people look at.

use super::sweep::Work;
use super::*;

impl Engine {
    /// Carries out an order; returns how many flows it concerned.
    pub fn command<I: Io>(&mut self, now: Now, command: Command, io: &mut I) -> u32 {
        let count = self.obey(now, command, io);
        self.gauges();
        count
    }

    /// Puts another table of policies in force, whole; `policies` are those that were, afterwards. Connections begin by it;
    /// those that are optimized stay so, and get its rates.
    pub fn set_policies<I: Io>(&mut self, now: Now, policies: &mut Policies, io: &mut I) {
        policies.go_on_from(&self.sh.policies);
        std::mem::swap(&mut self.sh.policies, policies);
        self.sh.subs.begin_table();
        if !self.records.is_empty() {
            self.begin_sweep(now, Work::Policies, io);
        }
        self.gauges();
    }

    /// The table in force, and how often each policy of it decided.
    pub fn policies(&self) -> &Policies {
        &self.sh.policies
    }

    fn obey<I: Io>(&mut self, now: Now, command: Command, io: &mut I) -> u32 {
        match command {
            Command::Drain { target, deadline } => self.drain(now, &target, deadline, io),
            Command::Bypass { target, deadline } => {
                if !self.bypassed.contains(&target) {
                    if self.bypassed.len() == ORDERS {
                        self.bypassed.remove(0);
                    }
                    self.bypassed.push(target);
                }
                self.drain(now, &target, deadline, io)
            }
            Command::Resume { target } => {
                let before = self.bypassed.len();
                self.bypassed.retain(|order| target != Target::Wire && *order != target);
                (before - self.bypassed.len()) as u32
            }
        }
    }

    fn drain<I: Io>(&mut self, now: Now, target: &Target, deadline: Now, io: &mut I) -> u32 {
        let count = match target {
            Target::Flow(key) => {
                let found = self.find(self.hasher.flow(key), key);
                found.into_iter().for_each(|id| self.drain_one(now, id, deadline, io));
                return u32::from(found.is_some());
            }
            Target::Subscriber(who) => self.sh.subs.find(who).map_or(0, |sub| self.sh.subs.flows(sub)),
            Target::Wire => self.records.len(),
        };
        self.begin_sweep(now, Work::Drain { target: *target, deadline }, io);
        count
    }

    pub(super) fn drain_one<I: Io>(&mut self, now: Now, id: u32, deadline: Now, io: &mut I) {
        match self.records[id].active {
            NONE => self.hand_back_idle(now, id, StopReason::Operator, io),
            handle => {
                self.with(now, handle, io, |flow, cx| flow.begin_drain(cx, StopReason::Operator, Some(deadline)));
                self.after(now, handle, Fate::Live, io);
            }
        }
    }

    pub(super) fn is_bypassed(&self, key: &FlowKey, who: &SubscriberKey) -> bool {
        self.bypassed.iter().any(|order| match order {
            Target::Wire => true,
            Target::Subscriber(subscriber) => subscriber == who,
            Target::Flow(flow) => flow == key,
        })
    }

    /// The copper wire forwarded packets behind the engine's back. Flows that the custody book did not mark are let go:
    /// what is known of them is not certain any more. `late`: the copper wire held back the segments of marked flows,
    /// which therefore go on as if those had been lost; otherwise it may have reset them, and both ends are reset.
    pub fn wire_opened<I: Io>(&mut self, now: Now, late: bool, io: &mut I) {
        self.sh.stats.wire_opened += 1;
        self.begin_sweep(now, Work::Opened { late }, io);
        self.gauges();
    }

    /// All flows, in no particular order.
    pub fn flows(&self) -> impl Iterator<Item = FlowInfo> + '_ {
        self.records.iter().map(|(_, rec)| {
            let mode = if rec.phase == Phase::Drain { Mode::Drain } else { Mode::Optimize };
            let pair = |of: &dyn Fn(usize) -> u64| [of(0), of(1)];
            match self.actives.get(rec.active) {
                Some(act) => FlowInfo {
                    key: rec.key,
                    mode,
                    custody: pair(&|s| act.custody_of(s)),
                    in_flight: pair(&|s| act.tx[s].nxt() - act.tx[s].una()),
                    delivered: pair(&|s| act.tx[s].una().saturating_sub(1)),
                    srtt_ns: pair(&|s| if act.tx[s].is_awake() { act.tx[s].srtt() } else { rec.srtt_ns(s) }),
                    cwnd: pair(&|s| u64::from(act.tx[s].cwnd())),
                },
                None => FlowInfo {
                    key: rec.key,
                    mode,
                    custody: [0; 2],
                    in_flight: [0; 2],
                    delivered: pair(&|s| rec.delivered(s)),
                    srtt_ns: pair(&|s| rec.srtt_ns(s)),
                    cwnd: [0; 2],
                },
            }
        })
    }

    /// All subscribers, in no particular order.
    pub fn subscribers(&self) -> impl Iterator<Item = SubscriberInfo> + '_ {
        self.sh.subs.iter().map(|(sub, key, flows)| {
            let gauges = self.sh.subs.gauges(sub);
            let of = |get: fn(&crate::subscriber::Gauges) -> u64| gauges.as_ref().map_or(0, get);
            SubscriberInfo {
                key,
                flows,
                in_flight: of(|g| g.in_flight),
                budget: of(|g| g.budget),
                rate: of(|g| g.rate),
                min_rtt_ns: of(|g| g.min_rtt_ns),
                rtt_ns: of(|g| g.rtt_ns),
            }
        })
    }
}
