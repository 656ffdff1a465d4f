//! Broadcasts the lines that one connection sends to all of them: `tokio_broadcast PORT`.
//!
//! Each connection has a receiver of one `tokio::sync::broadcast` channel, takes all that is there and writes it at
//! once. Whoever falls CAPACITY lines behind loses the oldest ones (`Lagged`), and nobody is told.

use std::io;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::broadcast::{channel, Receiver, Sender};

const CAPACITY: usize = 4096;
const WRITE_BYTES: usize = 64 << 10;

fn main() -> io::Result<()> {
    let port = std::env::args().nth(1).and_then(|text| text.parse().ok()).expect("a port");
    tokio::runtime::Builder::new_current_thread().enable_io().build()?.block_on(serve(port))
}

async fn serve(port: u16) -> io::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let (sender, _) = channel(CAPACITY);
    loop {
        let (stream, _) = listener.accept().await?;
        welcome(stream, sender.clone());
    }
}

/// The receiver exists before the client hears that it has joined, so it misses nothing that is said from then on.
fn welcome(stream: TcpStream, sender: Sender<Bytes>) {
    let _ = stream.set_nodelay(true);
    let (reader, writer) = stream.into_split();
    tokio::spawn(write_lines(writer, sender.subscribe()));
    tokio::spawn(read_lines(reader, sender));
}

/// An idle connection holds no buffer: one is made when there is something to read, and kept for a line's first part.
async fn read_lines(mut reader: OwnedReadHalf, sender: Sender<Bytes>) {
    let mut buffer = BytesMut::new();
    while reader.readable().await.is_ok() {
        buffer.reserve(4096);
        match reader.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        while let Some(end) = buffer.iter().position(|&byte| byte == b'\n') {
            let _ = sender.send(buffer.split_to(end + 1).freeze());
        }
        if buffer.is_empty() {
            buffer = BytesMut::new();
        }
    }
}

async fn write_lines(mut writer: OwnedWriteHalf, mut receiver: Receiver<Bytes>) {
    let mut out = b"joined\n".to_vec();
    while writer.write_all(&out).await.is_ok() {
        out = Vec::new();
        match receiver.recv().await {
            Ok(line) => out.extend_from_slice(&line),
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
        while out.len() < WRITE_BYTES {
            match receiver.try_recv() {
                Ok(line) => out.extend_from_slice(&line),
                Err(TryRecvError::Lagged(_)) => {}
                Err(_) => break,
            }
        }
    }
}
