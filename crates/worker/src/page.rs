//! The stats page: counters in a file that whoever looks maps, read without touching a worker.
//!
//! The format stands in python/smartwire/wire/stats.py.

use std::path::Path;
use std::sync::atomic::{fence, Ordering};

use smartwire_engine::{Finding, RefuseReason, Stats, StopReason};
use smartwire_io::port::PortStats;
use smartwire_io::shared::SharedWords;
use smartwire_io::IoError;

const MAGIC: &[u8; 8] = b"SWSTATS1";
const HEADER: usize = 40;
const SEQUENCE: usize = 3;
const TIME: usize = 4;

/// What the page says of each port, behind `portN.`.
const PORT_NAMES: [&str; 9] = [
    "rx_frames",
    "rx_bytes",
    "tx_frames",
    "tx_bytes",
    "rx_dropped",
    "tx_dropped",
    "rx_merged",
    "rx_too_long",
    "up",
];

/// One wire's page. One writer; any number of readers.
pub(crate) struct Page {
    memory: SharedWords,
    /// Engines that have counters of their own there, beside the sums; none where there is one.
    workers: usize,
    first: usize,
    next: usize,
}

impl Page {
    /// Makes the file, all counters zero. `extra`: names that follow those of the engines and of the `ports`.
    pub(crate) fn create(path: &Path, ports: usize, workers: usize, extra: &[&str]) -> Result<Page, IoError> {
        let workers = if workers > 1 { workers } else { 0 };
        let names = names(ports, workers, extra);
        let text = names.join("\n");
        let values = (HEADER + text.len()).next_multiple_of(8);
        let mut content = vec![0u8; values + 8 * names.len()];
        content[..8].copy_from_slice(MAGIC);
        let header = [HEADER, text.len(), values, names.len()];
        for (i, number) in header.into_iter().enumerate() {
            content[8 + 4 * i..12 + 4 * i].copy_from_slice(&(number as u32).to_le_bytes());
        }
        content[HEADER..HEADER + text.len()].copy_from_slice(text.as_bytes());
        Ok(Page { memory: SharedWords::create(path, &content)?, workers, first: values / 8, next: 0 })
    }

    /// Rewrites every value, in the order of the names; those of the engines are added up.
    pub(crate) fn write(&mut self, now_ns: u64, engines: &[Stats], ports: &[(PortStats, bool)], extra: &[u64]) {
        self.begin();
        for i in 0..Stats::NAMES.len() {
            self.put(engines.iter().map(|e| e.values()[i]).sum());
        }
        for i in 0..RefuseReason::ALL.len() {
            self.put(engines.iter().map(|e| e.refused[i]).sum());
        }
        for i in 0..StopReason::ALL.len() {
            self.put(engines.iter().map(|e| e.stopped[i]).sum());
        }
        for i in 0..Finding::ALL.len() {
            self.put(engines.iter().map(|e| e.found[i]).sum());
        }
        for (s, up) in ports {
            let lost = s.rx_no_frame + s.rx_merged + s.rx_too_long;
            let unsent = s.tx_dropped + s.tx_refused;
            let values = [
                s.rx_frames,
                s.rx_bytes,
                s.tx_frames,
                s.tx_bytes,
                lost,
                unsent,
                s.rx_merged,
                s.rx_too_long,
                u64::from(*up),
            ];
            values.into_iter().for_each(|v| self.put(v));
        }
        for engine in engines.iter().take(self.workers) {
            engine.values().into_iter().for_each(|v| self.put(v));
        }
        extra.iter().for_each(|&v| self.put(v));
        self.end(now_ns);
    }

    fn begin(&mut self) {
        let words = self.memory.words();
        let sequence = u64::from_le(words[SEQUENCE].load(Ordering::Relaxed));
        words[SEQUENCE].store((sequence | 1).to_le(), Ordering::Relaxed);
        // The odd number is seen before any new value (a seqlock's writer).
        fence(Ordering::Release);
        self.next = self.first;
    }

    fn put(&mut self, value: u64) {
        if let Some(word) = self.memory.words().get(self.next) {
            word.store(value.to_le(), Ordering::Relaxed);
        }
        self.next += 1;
    }

    fn end(&mut self, now_ns: u64) {
        debug_assert_eq!(self.next, self.memory.words().len(), "as many values as names");
        let words = self.memory.words();
        words[TIME].store(now_ns.to_le(), Ordering::Relaxed);
        let sequence = u64::from_le(words[SEQUENCE].load(Ordering::Relaxed));
        // Release: the values are there before the even number.
        words[SEQUENCE].store((sequence + 1).to_le(), Ordering::Release);
    }
}

fn names(ports: usize, workers: usize, extra: &[&str]) -> Vec<String> {
    let mut names: Vec<String> = Stats::NAMES.iter().map(|n| (*n).to_owned()).collect();
    names.extend(RefuseReason::ALL.iter().map(|r| format!("refused.{}", r.name())));
    names.extend(StopReason::ALL.iter().map(|r| format!("stopped.{}", r.name())));
    names.extend(Finding::ALL.iter().map(|f| format!("found.{}", f.name())));
    for port in 0..ports {
        names.extend(PORT_NAMES.iter().map(|n| format!("port{port}.{n}")));
    }
    for worker in 0..workers {
        names.extend(Stats::NAMES.iter().map(|n| format!("worker{worker}.{n}")));
    }
    names.extend(extra.iter().map(|n| (*n).to_owned()));
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_as_many_values_as_names_and_an_even_sequence_number() {
        let path = std::env::temp_dir().join(format!("sw-page-{}", std::process::id()));
        let mut page = Page::create(&path, 2, 2, &["frames_free"]).unwrap();
        let stats = Stats { frames_in: 7, ..Stats::default() };
        let port = (PortStats { tx_bytes: 9, ..PortStats::default() }, true);
        let other = Stats { frames_in: 8, ..Stats::default() };
        page.write(1234, &[stats, other], &[port, port], &[55]);
        let file = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let word = |at: usize| u64::from_le_bytes(file[at..at + 8].try_into().unwrap());
        let half = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap()) as usize;
        assert_eq!(&file[..8], MAGIC);
        assert_eq!((word(24), word(32)), (2, 1234));
        let names: Vec<&str> =
            std::str::from_utf8(&file[half(8)..half(8) + half(12)]).unwrap().split('\n').collect();
        assert_eq!(names.len(), half(20));
        let value = |name: &str| word(half(16) + 8 * names.iter().position(|n| *n == name).unwrap());
        assert_eq!((value("frames_in"), value("port1.tx_bytes"), value("frames_free")), (15, 9, 55));
        assert_eq!((value("worker0.frames_in"), value("worker1.frames_in")), (7, 8));
        assert_eq!(file.len(), half(16) + 8 * names.len());
    }
}
