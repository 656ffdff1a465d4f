//! Broadcasts the lines that one connection sends to all of them: `tokio_broadcast PORT LINES`.
//!
//! Each connection has a receiver of one `tokio::sync::broadcast` channel, takes up to LINES lines that are there
//! and writes them at once; 1 is how such servers are usually written. Whoever falls CAPACITY lines behind loses
//! the oldest ones (`Lagged`), and nobody is told.

use std::io;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::broadcast::{channel, Receiver, Sender};

const CAPACITY: usize = 4096;

fn main() -> io::Result<()> {
    let numbers: Vec<u16> = std::env::args()
        .skip(1)
        .filter_map(|text| text.parse().ok())
        .collect();
    let &[port, most] = numbers.as_slice() else {
        panic!("usage: tokio_broadcast PORT LINES")
    };
    tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?
        .block_on(serve(port, most.into()))
}

async fn serve(port: u16, most: usize) -> io::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let (sender, _) = channel(CAPACITY);
    loop {
        let (stream, _) = listener.accept().await?;
        welcome(stream, sender.clone(), most);
    }
}

/// The receiver exists before the client hears that it has joined, so it misses nothing that is said from then on.
fn welcome(stream: TcpStream, sender: Sender<Bytes>, most: usize) {
    let _ = stream.set_nodelay(true);
    let (reader, writer) = stream.into_split();
    tokio::spawn(write_lines(writer, sender.subscribe(), most));
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

async fn write_lines(mut writer: OwnedWriteHalf, mut receiver: Receiver<Bytes>, most: usize) {
    let mut out = b"joined\n".to_vec();
    while writer.write_all(&out).await.is_ok() {
        drop(std::mem::take(&mut out)); // an idle connection keeps no buffer
        match receiver.recv().await {
            Ok(line) => {
                out.reserve(line.len() * most.min(1 + receiver.len()));
                out.extend_from_slice(&line);
            }
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
        for _ in 1..most {
            match receiver.try_recv() {
                Ok(line) => out.extend_from_slice(&line),
                Err(TryRecvError::Lagged(_)) => {}
                Err(_) => break,
            }
        }
    }
}
