//! Virtual time: links, radio model, model endpoints, scenarios.
