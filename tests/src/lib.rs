//! What the end-to-end tests, the benchmark and the client share.
//!
//! | file | what it is |
//! |---|---|
//! | `pattern.rs` | bytes that say which connection and which position they are of |
//! | `client.rs` | the blocking client: `std::net`, no part of the runtime |
//! | `server.rs` | an echo server on a runtime in this process |
//! | `child.rs` | a test that runs in a process of its own |
//! | `fds.rs` | descriptors that `std` does not make |
//! | `folder.rs` | a folder of a test's own |
//! | `os.rs` | limits, resident memory, processor time and affinity |
//! | `raw_epoll.rs` | the echo server that the runtime is measured against |
//! | `load.rs` | the load generator of the benchmark |
//! | `tidy.rs` | the house rules |
//!
//! The peers of the runtime under test are made of `std` and `libc` alone: a mistake of the runtime
//! cannot hide behind the same mistake at the other end.

pub mod child;
pub mod client;
pub mod fds;
pub mod folder;
pub mod load;
pub mod os;
pub mod pattern;
pub mod raw_epoll;
pub mod server;
pub mod tidy;
