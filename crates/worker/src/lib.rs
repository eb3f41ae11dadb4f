//! The worker loop around the engine: rings, stats pages, events, drain.
