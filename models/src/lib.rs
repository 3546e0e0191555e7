//! Models of the netpoll protocols: the production types under loom.
//!
//! Each file holds one protocol and opens with the interleaving it hunts, in the vocabulary of the
//! specification. A model is a body that loom runs in every interleaving that the C11 memory model
//! allows, up to the bound that it names. Nothing is copied: the body uses
//! `netpoll::poll::PollDesc<Loom>`, which is the type that serves connections, with loom's atomics.
//!
//! | file | protocol |
//! |---|---|
//! | [`mod@platform`] | the `Loom` platform |
//! | [`mod@check`] | runs a model and says what was covered |
//! | [`mod@orderings`] | every atomic access of the runtime, listed |
//! | `park_model` | a consumer that parks, against an edge, a close and a deadline |
//! | `sleep_model` | a worker that falls asleep, against a push into its inbox |
//! | `short_read_model` | a reader that waits at once after a short read |

pub mod check;
pub mod orderings;
pub mod platform;

#[cfg(test)]
mod park_model;
#[cfg(test)]
mod short_read_model;
#[cfg(test)]
mod sleep_model;
