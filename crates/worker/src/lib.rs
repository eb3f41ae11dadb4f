//! A running wire: the loop around the engine, orders, stats page, event ring, sign of life.
//!
//! ```text
//!   open      interfaces → ports, memory, sockets, steering; undone when a step fails
//!   single    the loop of one worker
//!   spread    several workers: one thread for the ports, one per engine (hand: its frames)
//!   seat      an engine with its orders, events, counters and foreign traffic
//!   house     chores of the thread that owns the ports: page, audit, interfaces, survivors
//!   journal, tap   what an engine is given and does, recorded for a replay or captured for a person (watch: both)
//!   survivors, resets   connections that an earlier engine left with custody are reset by the next one, or before by
//!   guardian  a process of its own that sleeps until the wire's is gone
//!   passing   a wire with nothing to optimize leaves the traffic to the copper wire
//!   pulse     the heartbeat, as long as every thread keeps its promises
//!   policies  a table of policies, from a document to all engines
//!   page, events   what others read without touching a worker
//!   bare      a forwarder without an engine, to compare with
//!   bench     how fast the engine is, without I/O
//! ```

mod bare;
pub mod bench;
mod events;
mod foreign;
mod guardian;
mod hand;
mod house;
mod journal;
mod make;
mod open;
mod options;
mod page;
mod passing;
mod policies;
mod pulse;
mod resets;
mod seat;
mod single;
mod spread;
mod survivors;
mod tap;
mod watch;
mod wire;

pub use bare::forward;
pub use guardian::guard;
pub use journal::{replay_journal, Replayed};
pub use open::{copper, steer_error, unwire, About};
pub use options::{default_frames, IoChoice, Options};
pub use policies::Ruling;
pub use seat::{subscriber_of, Order, Verb, MOST_ROWS};
pub use tap::{Captured, Select};
pub use wire::Wire;
