//! The ping-pong on turmoil's TCP, between two hosts.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use turmoil::net::{TcpListener, TcpStream};

use crate::LEN;

/// Messages of one turn.
pub const MESSAGES: usize = 100_000;

/// One run of so many clients, each of which makes so many round trips.
pub fn run(seed: u64, clients: usize, round_trips: usize) {
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
