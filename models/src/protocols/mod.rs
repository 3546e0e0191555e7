//! The models, one file for each protocol.
//!
//! Each file opens with the interleavings that it hunts, in the vocabulary of the architecture. To add a
//! model: write a function `fn name<P: Checked>()`, describe it to `models!`, and plant the bug that it
//! is to find to see that it does.

mod break_model;
mod channel_model;
mod deadline_model;
mod descriptor;
mod fd_mutex_model;
mod file_model;
mod goroutine_model;
mod inbox_model;
mod park_model;
mod poller_model;
mod reuse_model;
mod ring_model;
mod run_queue_model;
mod runtime_model;
mod scheduler;
mod sema_model;
mod short_read_model;
mod shutdown_model;
mod sleep_model;
mod sleep_timer_model;
mod sync_model;
mod ticket_model;
mod timer_model;
mod waiter_model;
mod world_model;

use crate::check::Model;

/// The files, in the order in which they are shown. A file that is not listed fails its own tests.
static FILES: &[&[Model]] = &[
    park_model::MODELS,
    deadline_model::MODELS,
    short_read_model::MODELS,
    reuse_model::MODELS,
    break_model::MODELS,
    fd_mutex_model::MODELS,
    sema_model::MODELS,
    file_model::MODELS,
    ticket_model::MODELS,
    waiter_model::MODELS,
    inbox_model::MODELS,
    ring_model::MODELS,
    run_queue_model::MODELS,
    timer_model::MODELS,
    sleep_model::MODELS,
    sleep_timer_model::MODELS,
    poller_model::MODELS,
    world_model::MODELS,
    shutdown_model::MODELS,
    sync_model::MODELS,
    channel_model::MODELS,
    goroutine_model::MODELS,
    runtime_model::MODELS,
];

/// Every model, in the order in which they are shown.
pub fn all() -> impl Iterator<Item = &'static Model> {
    FILES.iter().copied().flatten()
}

/// The model with this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Model> {
    all().find(|model| model.name == name)
}
