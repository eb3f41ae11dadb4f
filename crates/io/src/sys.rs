//! The few system calls that everything here shares, made safe: clock, poll, wake-ups, interface names, socket options.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use crate::error::IoError;

/// CLOCK_MONOTONIC in nanoseconds: the clock of the workers, and (bpf_ktime_get_ns) of the BPF programs.
pub fn clock_ns() -> u64 {
    let mut ts = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `ts` is a valid, writable timespec for the duration of the call.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut ts) };
    ts.tv_sec as u64 * 1_000_000_000 + ts.tv_nsec as u64
}

/// Processor time that the calling thread has used, in nanoseconds.
pub fn thread_cpu_ns() -> u64 {
    let mut ts = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `ts` is ours and lives through the call.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut ts) };
    ts.tv_sec as u64 * 1_000_000_000 + ts.tv_nsec as u64
}

/// The calling thread's id in the kernel.
pub fn thread_id() -> u32 {
    // SAFETY: gettid takes nothing and cannot fail.
    unsafe { libc::gettid() as u32 }
}

/// Processor time that thread `id` of this process has used until the scheduler last looked, in nanoseconds, if it is
/// running or would run if it were given a processor; `None` if it waits for something else.
pub fn ready_thread_cpu_ns(id: u32) -> Option<u64> {
    let read = |file| std::fs::read_to_string(format!("/proc/self/task/{id}/{file}")).ok();
    let stat = read("stat")?;
    // The state follows the name, which is in brackets and may hold some itself.
    let state = stat.rsplit(')').next()?.trim_start().chars().next()?;
    let used = read("schedstat")?.split(' ').next()?.parse().ok()?;
    (state == 'R').then_some(used)
}

/// What to wait for on a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interest {
    /// The descriptor.
    pub fd: RawFd,
    /// Wait until it can be read.
    pub read: bool,
    /// Wait until it can be written.
    pub write: bool,
}

impl Interest {
    /// Wait until `fd` can be read.
    pub fn readable(fd: RawFd) -> Interest {
        Interest { fd, read: true, write: false }
    }
}

/// A set of descriptors to sleep on, kept between sleeps so that a wait allocates nothing.
#[derive(Default)]
pub struct PollSet {
    fds: Vec<libc::pollfd>,
}

impl PollSet {
    /// A set of these descriptors, in this order.
    pub fn new(interests: &[Interest]) -> PollSet {
        let mut set = PollSet::default();
        for &i in interests {
            set.push(i);
        }
        set
    }

    /// Adds one more, and returns its index.
    pub fn push(&mut self, i: Interest) -> usize {
        self.fds.push(libc::pollfd { fd: i.fd, events: events_of(i), revents: 0 });
        self.fds.len() - 1
    }

    /// Changes what entry `index` waits for.
    pub fn set(&mut self, index: usize, i: Interest) {
        self.fds[index] = libc::pollfd { fd: i.fd, events: events_of(i), revents: 0 };
    }

    /// Sleeps until one is ready or `timeout` has passed (`None`: without limit). Returns how many are ready; an
    /// interrupting signal counts as 0 ready.
    pub fn wait(&mut self, timeout: Option<Duration>) -> Result<usize, IoError> {
        let ts = timeout.map(timespec);
        let ts_ptr = ts.as_ref().map_or(std::ptr::null(), |t| t as *const libc::timespec);
        // SAFETY: `fds` points to `len` valid pollfd entries and `ts_ptr` is null or a timespec that outlives the call.
        let n = unsafe { libc::ppoll(self.fds.as_mut_ptr(), self.fds.len() as libc::nfds_t, ts_ptr, std::ptr::null()) };
        if n >= 0 {
            return Ok(n as usize);
        }
        let err = io::Error::last_os_error();
        if err.raw_os_error() == Some(libc::EINTR) {
            for f in &mut self.fds {
                f.revents = 0;
            }
            return Ok(0);
        }
        Err(IoError::os("wait for packets (ppoll)", err))
    }

    /// Whether entry `index` could be read after the last wait.
    pub fn readable(&self, index: usize) -> bool {
        self.fds[index].revents & libc::POLLIN != 0
    }

    /// Whether entry `index` could be written after the last wait.
    pub fn writable(&self, index: usize) -> bool {
        self.fds[index].revents & libc::POLLOUT != 0
    }

    /// Whether entry `index` reported an error or hang-up (a port that went down).
    pub fn failed(&self, index: usize) -> bool {
        self.fds[index].revents & (libc::POLLERR | libc::POLLHUP | libc::POLLNVAL) != 0
    }
}

fn events_of(i: Interest) -> i16 {
    (if i.read { libc::POLLIN } else { 0 }) | (if i.write { libc::POLLOUT } else { 0 })
}

fn timespec(d: Duration) -> libc::timespec {
    libc::timespec { tv_sec: d.as_secs() as libc::time_t, tv_nsec: d.subsec_nanos() as libc::c_long }
}

/// Wakes a sleeping thread from another: an eventfd.
pub struct Wake {
    fd: OwnedFd,
}

impl Wake {
    /// A new one, not signalled.
    pub fn new() -> Result<Wake, IoError> {
        // SAFETY: eventfd takes no pointers.
        let fd = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
        Ok(Wake { fd: owned(fd, "make an eventfd")? })
    }

    /// The descriptor to poll for reading.
    pub fn fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// Wakes whoever sleeps on it.
    pub fn wake(&self) {
        let one = 1u64.to_ne_bytes();
        // SAFETY: `one` is 8 readable bytes. A full counter (EAGAIN) means that the sleeper is already due to wake.
        unsafe { libc::write(self.fd.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }

    /// Takes the wake-up, so that the next wait sleeps again.
    pub fn clear(&self) {
        let mut buf = [0u8; 8];
        // SAFETY: `buf` is 8 writable bytes; EAGAIN when it was not signalled is fine.
        unsafe { libc::read(self.fd.as_raw_fd(), buf.as_mut_ptr().cast(), buf.len()) };
    }
}

/// Takes ownership of a descriptor that a system call just returned, or turns its failure into an error.
pub(crate) fn owned(fd: libc::c_int, doing: &str) -> Result<OwnedFd, IoError> {
    if fd < 0 {
        return Err(IoError::last(doing));
    }
    // SAFETY: the caller passes a descriptor fresh from the kernel that nothing else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The index of interface `name` in the current network namespace.
pub fn if_index(name: &str) -> Result<u32, IoError> {
    let c = CString::new(name).map_err(|_| IoError::new("An interface name holds a zero byte; give its name as `ip link` shows it."))?;
    // SAFETY: `c` is a valid zero-terminated string.
    let index = unsafe { libc::if_nametoindex(c.as_ptr()) };
    if index == 0 {
        return Err(IoError::new(format!("There is no interface {name}; `ip link` lists those there are.")));
    }
    Ok(index)
}

/// The name of interface `index` in the current network namespace.
pub fn if_name(index: u32) -> Result<String, IoError> {
    let mut buf = [0u8; libc::IF_NAMESIZE];
    // SAFETY: `buf` has the IF_NAMESIZE bytes that the call may write.
    let p = unsafe { libc::if_indextoname(index, buf.as_mut_ptr().cast()) };
    if p.is_null() {
        return Err(IoError::new(format!("There is no interface with index {index}; `ip -o link` lists those there are.")));
    }
    let end = buf.iter().position(|&b| b == 0).unwrap_or(buf.len());
    Ok(String::from_utf8_lossy(&buf[..end]).into_owned())
}

/// `setsockopt` with a plain-old-data value.
pub(crate) fn set_option<T: Copy>(fd: RawFd, level: i32, name: i32, value: &T) -> io::Result<()> {
    // SAFETY: `value` is a readable T of exactly the length given; the kernel copies it.
    let rc = unsafe {
        libc::setsockopt(fd, level, name, (value as *const T).cast(), std::mem::size_of::<T>() as libc::socklen_t)
    };
    if rc < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// `getsockopt` into plain integers.
pub(crate) fn get_option<T: Copy + Default>(fd: RawFd, level: i32, name: i32) -> io::Result<T> {
    let mut value = T::default();
    let mut len = std::mem::size_of::<T>() as libc::socklen_t;
    // SAFETY: `value` is a writable T of `len` bytes; every T used in this crate is a repr(C) struct of integers, valid
    // for all bit patterns.
    let rc = unsafe { libc::getsockopt(fd, level, name, (&mut value as *mut T).cast(), &mut len) };
    if rc < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(value)
}

/// Moves the calling thread (and what it starts) into network namespace `name`, as `ip netns` knows it.
pub fn enter_netns(name: &str) -> Result<(), IoError> {
    let path = format!("/run/netns/{name}");
    let file = std::fs::File::open(&path)
        .map_err(|e| IoError::os(format!("enter network namespace {name} ({path})"), e))?;
    set_netns(&file)
}

/// Moves the calling thread into the network namespace behind an open file.
pub fn set_netns(ns: &std::fs::File) -> Result<(), IoError> {
    // SAFETY: setns takes no pointers; `ns` is open for the duration of the call.
    if unsafe { libc::setns(ns.as_raw_fd(), libc::CLONE_NEWNET) } < 0 {
        return Err(IoError::last("enter a network namespace"));
    }
    Ok(())
}

/// Puts the calling thread in front of ordinary ones and lets it sleep with microsecond precision. Without permission
/// nothing changes: it works as well, only less punctually.
pub fn be_punctual() {
    // SAFETY: neither call takes pointers; `who` 0 is the calling thread.
    unsafe {
        libc::setpriority(libc::PRIO_PROCESS, 0, -20);
        libc::prctl(libc::PR_SET_TIMERSLACK, 1_000);
    }
}

/// Makes the calling thread run before all ordinary ones: only for one that does next to nothing. As [`be_punctual`],
/// a wish.
pub fn be_first() {
    let lowest = libc::sched_param { sched_priority: 1 };
    // SAFETY: `lowest` is a valid sched_param for the duration of the call; 0 is the calling thread.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &lowest) };
    be_punctual();
}

/// Gives up every capability of the calling thread for good, and of what it may start: it keeps the descriptors that it
/// has. A wish, as [`be_punctual`].
pub fn be_harmless() {
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    /// `_LINUX_CAPABILITY_VERSION_3` of linux/capability.h.
    const VERSION: u32 = 0x2008_0522;
    let (header, none) = (Header { version: VERSION, pid: 0 }, [[0u32; 3]; 2]);
    // SAFETY: `header` and the two zeroed sets are what this version of capset reads; prctl takes no pointers here.
    unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        libc::syscall(libc::SYS_capset, &header, none.as_ptr());
    }
}

/// True when this process may open packet sockets and change interfaces.
pub fn is_root() -> bool {
    // SAFETY: geteuid takes nothing and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wake_ends_a_sleep_and_clearing_lets_the_next_one_sleep() {
        let wake = Wake::new().unwrap();
        let mut set = PollSet::new(&[Interest::readable(wake.fd())]);
        assert_eq!(set.wait(Some(Duration::from_millis(1))).unwrap(), 0);
        wake.wake();
        assert_eq!(set.wait(Some(Duration::from_secs(5))).unwrap(), 1);
        assert!(set.readable(0));
        wake.clear();
        assert_eq!(set.wait(Some(Duration::from_millis(1))).unwrap(), 0);
    }

    #[test]
    fn a_missing_interface_is_named_in_one_sentence() {
        let err = if_index("nosuchport0").unwrap_err().to_string();
        assert_eq!(err, "There is no interface nosuchport0; `ip link` lists those there are.");
    }

    #[test]
    fn a_thread_is_ready_while_it_runs_and_not_while_it_sleeps() {
        let mine = ready_thread_cpu_ns(thread_id()).expect("this one runs");
        let (tell, told) = std::sync::mpsc::channel();
        let (wake, sleep) = std::sync::mpsc::channel::<()>();
        let other = std::thread::spawn(move || {
            tell.send(thread_id()).unwrap();
            let _ = sleep.recv();
        });
        let id = told.recv().unwrap();
        while ready_thread_cpu_ns(id).is_some() {
            std::thread::yield_now();
        }
        drop(wake);
        other.join().unwrap();
        let from = thread_cpu_ns();
        while thread_cpu_ns() < from + 50_000_000 {}
        assert!(ready_thread_cpu_ns(thread_id()).unwrap() >= mine + 20_000_000);
        assert_eq!(ready_thread_cpu_ns(id), None, "gone");
    }

    #[test]
    fn the_clock_does_not_go_back() {
        let a = clock_ns();
        assert!(clock_ns() >= a);
    }
}
