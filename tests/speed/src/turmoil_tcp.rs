//! The ping-pong on turmoil's TCP, between two hosts.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use turmoil::net::{TcpListener, TcpStream};

use crate::{LEN, SHORT_RUNS};

const MESSAGES: usize = 100_000;

pub fn ping_pong(clients: usize) -> u64 {
    let round_trips = MESSAGES / 2 / clients;
    run(1, clients, round_trips);
    (2 * clients * round_trips) as u64
}

/// Runs of one round trip; returns how many there are.
pub fn short() -> u64 {
    (0..SHORT_RUNS).for_each(|seed| run(seed, 1, 1));
    SHORT_RUNS
}

fn run(seed: u64, clients: usize, round_trips: usize) {
    let mut sim = turmoil::Builder::new()
        .rng_seed(seed)
        .tcp_capacity(4 * 1024)
        .simulation_duration(Duration::from_secs(1_000_000))
        .min_message_latency(Duration::ZERO)
        .max_message_latency(Duration::from_millis(1))
        .build();
    sim.host("server", move || async move {
        let listener = TcpListener::bind("0.0.0.0:1").await?;
        loop {
            let (mut stream, _) = listener.accept().await?;
            tokio::spawn(async move {
                let mut buf = [0; LEN];
                while stream.read_exact(&mut buf).await.is_ok() {
                    stream.write_all(&buf).await.expect("the client reads");
                }
            });
        }
    });
    sim.client("client", async move {
        let mut all = Vec::new();
        for _ in 0..clients {
            all.push(tokio::spawn(async move {
                let mut stream = TcpStream::connect("server:1").await.expect("it listens");
                let mut buf = [7; LEN];
                for _ in 0..round_trips {
                    stream.write_all(&buf).await.expect("the server reads");
                    stream.read_exact(&mut buf).await.expect("the server answers");
                }
            }));
        }
        for it in all {
            it.await?;
        }
        Ok(())
    });
    sim.run().expect("it ends");
}
