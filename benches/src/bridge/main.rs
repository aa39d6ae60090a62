//! The bridge from PostgreSQL to nchan: each notification becomes a POST to its channel.
//!
//! It is no part of what is measured: only nginx's CPU time counts, as nchan's best case. So that nchan gets events as
//! fast as the others do, requests are pipelined on one connection that stays open; their order is that of the events.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail};
use clap::Parser;
use futures_util::StreamExt;
use tidings_benches::notifications::{self, Payload};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio_postgres::AsyncMessage;

/// Requests that are sent together.
const TOGETHER_MAX: usize = 128;

/// Posts the events of the database's channel `bench` to /pub/CHANNEL.
#[derive(Debug, Parser)]
struct Arguments {
    /// nginx.
    #[arg(long)]
    to: SocketAddr,
    /// The database.
    #[arg(long)]
    database_url: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let (client, messages) = notifications::connect(&arguments.database_url).await?;
    let mut messages = messages.ready_chunks(TOGETHER_MAX);
    let socket = TcpStream::connect(arguments.to).await.context("nginx")?;
    socket.set_nodelay(true)?;
    let (answers, mut requests) = socket.into_split();
    let forwarding = async {
        let mut together = Vec::new();
        while let Some(messages) = messages.next().await {
            together.clear();
            for message in messages {
                if let AsyncMessage::Notification(notification) = message? {
                    append(notification.payload(), arguments.to, &mut together)?;
                }
            }
            requests.write_all(&together).await.context("nginx")?;
        }
        bail!("the database closed the connection")
    };
    let listening = async {
        notifications::listen(&client).await?;
        discard(answers).await
    };
    tokio::try_join!(forwarding, listening).map(|((), ())| ())
}

fn append(payload: &str, host: SocketAddr, to: &mut Vec<u8>) -> Result<()> {
    let payload: Payload = serde_json::from_str(payload)?;
    let (channel, data) = (payload.channel, payload.data.get());
    let length = data.len();
    let request = format!(
        "POST /pub/{channel} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{data}"
    );
    to.extend_from_slice(request.as_bytes());
    Ok(())
}

/// The answers say how many subscribers there are; the load generator knows better who got what.
async fn discard(mut answers: OwnedReadHalf) -> Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        if answers.read(&mut buffer).await? == 0 {
            bail!("nginx closed the connection");
        }
    }
}
