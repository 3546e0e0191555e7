//! Models of the netpoll protocols: the production types under loom and shuttle.
//!
//! A model is a small program around one protocol of the runtime. A checker runs it in every
//! interleaving, or in many, and says in a *certificate* what it has covered. Nothing is copied: a model
//! uses `netpoll::poll::PollDesc<P>`, which is the type that serves connections, on a platform whose
//! atomics, locks and threads are the checker's.
//!
//! | module | what it is |
//! |---|---|
//! | [`platform`] | the platforms: loom, shuttle, the simulated kernel on both, and the probe |
//! | [`check`] | runs a model and certifies what was covered |
//! | [`child`], [`crew`] | run a model in a process of its own, and many at a time |
//! | [`protocols`] | the models, one file for each protocol |
//! | [`orderings`] | every atomic access of the runtime, listed |
//! | [`museum`] | wrong versions of the runtime, and the models that kill them |
//! | [`coverage`] | which transitions of the runtime's state words were exercised |
//!
//! Under `cargo test` each model and checker is a test, which runs it in a process of its own. To step through
//! one in a debugger, or for a backtrace, run it in the test's process:
//! `NETPOLL_MODELS_HERE=1 cargo test -p netpoll-models park_against_close::loom`.

pub mod check;
pub mod child;
pub mod coverage;
pub mod crew;
pub mod museum;
pub mod orderings;
pub mod platform;
pub mod protocols;
