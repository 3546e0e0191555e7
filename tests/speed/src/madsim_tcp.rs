//! The ping-pong on madsim's TCP, between two nodes.

use std::net::SocketAddr;
use std::sync::Arc;

use madsim::net::{TcpListener, TcpStream};
use madsim::runtime::Runtime;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Barrier;

use crate::LEN;

/// Messages of one turn.
pub const MESSAGES: usize = 400_000;

/// One run of so many clients, each of which makes so many round trips.
pub fn run(seed: u64, clients: usize, round_trips: usize) {
    let runtime = Runtime::with_seed_and_config(seed, madsim::Config::default());
    let server: SocketAddr = "10.0.0.1:1".parse().expect("an address");
    let here = runtime.create_node().ip(server.ip()).build();
    let there = runtime.create_node().ip("10.0.0.2".parse().expect("an address")).build();
    let barrier = Arc::new(Barrier::new(clients + 1));
    let ready = Arc::clone(&barrier);
    let serve = here.spawn(async move {
        let listener = TcpListener::bind(server).await.expect("the port is free");
        ready.wait().await;
        let mut all = Vec::new();
        for _ in 0..clients {
            let (mut stream, _) = listener.accept().await.expect("somebody connects");
            all.push(madsim::task::spawn(async move {
                let mut buf = [0; LEN];
                for _ in 0..round_trips {
                    stream.read_exact(&mut buf).await.expect("the client writes");
                    stream.write_all(&buf).await.expect("the client reads");
                    stream.flush().await.expect("the client reads");
                }
            }));
        }
        for it in all {
            it.await.expect("it does not panic");
        }
    });
    let talks: Vec<_> = (0..clients)
        .map(|_| {
            let ready = Arc::clone(&barrier);
            there.spawn(async move {
                ready.wait().await;
                let mut stream = TcpStream::connect(server).await.expect("it listens");
                let mut buf = [7; LEN];
                for _ in 0..round_trips {
                    stream.write_all(&buf).await.expect("the server reads");
                    stream.flush().await.expect("the server reads");
                    stream.read_exact(&mut buf).await.expect("the server answers");
                }
            })
        })
        .collect();
    runtime.block_on(async move {
        for talk in talks {
            talk.await.expect("it does not panic");
        }
        serve.await.expect("it does not panic");
    });
}
