//! Connections on which nothing moves: whoever has ended the handshake and then sends nothing, or does not read
//! what it asked for, gives its place back.
//!
//! Nobody waits so long for a reply, so a request that is still at work then has no one to answer, and what it does
//! is safe to break off like at a crash.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::runtime::Timer;

/// How often something has moved on a connection.
#[derive(Clone, Default)]
pub(super) struct Moves(Arc<AtomicU64>);

impl Moves {
    /// Waits until nothing has moved for `limit`, or at most twice that.
    pub(super) async fn end(&self, timer: &dyn Timer, limit: Duration) {
        loop {
            let before = self.0.load(Ordering::Relaxed);
            timer.sleep(limit).await;
            if self.0.load(Ordering::Relaxed) == before {
                return;
            }
        }
    }

    fn one(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A stream that counts its moves.
pub(super) struct Moving<S> {
    stream: S,
    moves: Moves,
}

impl<S> Moving<S> {
    pub(super) const fn new(stream: S, moves: Moves) -> Self {
        Self { stream, moves }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Moving<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        if buffer.filled().len() > before {
            self.moves.one();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Moving<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(context, bytes))?;
        if written > 0 {
            self.moves.one();
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
