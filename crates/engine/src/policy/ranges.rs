//! Which prefixes an address is in: the address space cut where a prefix begins or ends, and for each piece the set of
//! all whose prefixes cover it. A lookup is one binary search, however the prefixes are nested.

use std::net::Ipv6Addr;

use super::sets::Maker;

/// A prefix as its first and last address, and the set of those that it belongs to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owned<A> {
    pub first: A,
    pub last: A,
    pub owners: u32,
}

/// Both families. An IPv6 prefix never covers an IPv4 address, `::/0` neither.
#[derive(Debug)]
pub(super) struct Addresses {
    v4: Ranges<u32>,
    v6: Ranges<u128>,
}

impl Addresses {
    /// Cuts both families; where no prefix is, the set is `base`.
    pub fn new(v4: Vec<Owned<u32>>, v6: Vec<Owned<u128>>, base: u32, sets: &mut Maker) -> Addresses {
        Addresses {
            v4: Ranges::new(v4, base, sets, |last| last.checked_add(1)),
            v6: Ranges::new(v6, base, sets, |last| last.checked_add(1)),
        }
    }

    /// The set of an address, IPv4 as IPv4-mapped.
    #[inline]
    pub fn find(&self, addr: Ipv6Addr) -> u32 {
        match addr.to_ipv4_mapped() {
            Some(v4) => self.v4.find(v4.to_bits()),
            None => self.v6.find(addr.to_bits()),
        }
    }
}

#[derive(Debug)]
struct Ranges<A> {
    /// Where pieces begin, the first at zero, and their sets.
    starts: Vec<A>,
    sets: Vec<u32>,
}

impl<A: Copy + Ord + Default> Ranges<A> {
    /// Prefixes lie within each other or apart, so that going through them in order takes one stack.
    fn new(mut prefixes: Vec<Owned<A>>, base: u32, sets: &mut Maker, next: impl Fn(A) -> Option<A>) -> Ranges<A> {
        prefixes.sort_unstable_by(|a, b| a.first.cmp(&b.first).then(b.last.cmp(&a.last)));
        let mut ranges = Ranges { starts: vec![A::default()], sets: vec![base] };
        let mut stack: Vec<(A, u32)> = Vec::new();
        let close = |ranges: &mut Ranges<A>, stack: &mut Vec<(A, u32)>, before: Option<A>| {
            while let Some((last, _)) = stack.last().copied().filter(|(last, _)| before.is_none_or(|b| *last < b)) {
                stack.pop();
                let outside = stack.last().map_or(base, |(_, set)| *set);
                next(last).into_iter().for_each(|start| ranges.cut(start, outside));
            }
        };
        for prefix in prefixes {
            close(&mut ranges, &mut stack, Some(prefix.first));
            let outside = stack.last().map_or(base, |(_, set)| *set);
            let set = sets.union(outside, prefix.owners);
            stack.push((prefix.last, set));
            ranges.cut(prefix.first, set);
        }
        close(&mut ranges, &mut stack, None);
        ranges
    }

    /// From `start` on it is `set`.
    fn cut(&mut self, start: A, set: u32) {
        if self.starts.last() == Some(&start) {
            self.starts.pop();
            self.sets.pop();
        }
        if self.sets.last() != Some(&set) {
            self.starts.push(start);
            self.sets.push(set);
        }
    }

    #[inline]
    fn find(&self, addr: A) -> u32 {
        // The first piece begins at zero.
        self.sets[self.starts.partition_point(|start| *start <= addr) - 1]
    }
}
