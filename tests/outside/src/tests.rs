use netpoll::net::{TcpListener, TcpStream};
use std::io::{self, Read, Write};

fn send(mut to: &TcpStream, text: &str) -> io::Result<()> {
    to.write_all(&[&[text.len() as u8], text.as_bytes()].concat())
}

fn receive(mut from: &TcpStream) -> io::Result<String> {
    let mut len = [0];
    from.read_exact(&mut len)?;
    let mut text = vec![0; len[0].into()];
    let count = from.read(&mut text)?; // wrong: it may bring less than was asked for
    Ok(String::from_utf8_lossy(&text[..count]).into())
}

#[netpoll_sim::test(faults = none)]
fn what_is_said_is_heard() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:7000")?;
    let server = netpoll::go(move || {
        let (stream, _) = listener.accept()?;
        send(&stream, &receive(&stream)?)
    });
    let stream = TcpStream::connect("127.0.0.1:7000")?;
    send(&stream, "good morning")?;
    assert_eq!(receive(&stream)?, "good morning");
    server.join().expect("it does not panic")
}
