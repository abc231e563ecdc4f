//! Lines from the terminals' operators to the centre's file server: pipes on virtual time that break after any
//! byte.

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tsm_api::clearing_transport::{FrameMac, MacError};
use tsm_keys::{KeyService as _, SoftwareKeyService};
use tsm_services::clearing::serve_line;

use super::keys::{self, frame_key};
use super::servers::Servers;
use super::terminals::{RAIL, SHOPS_AND_BUSES};

/// Bytes that are on their way at once.
const PIPE: usize = 4 << 10;

/// The lines.
#[derive(Clone)]
pub struct Lines(pub(super) Arc<Servers>);

impl Lines {
    /// The keys of the frames.
    pub fn keys(&self) -> SoftwareKeyService {
        self.0.keys.clearing.clone()
    }

    /// Whether things go wrong at this time.
    pub fn may_break(&self) -> bool {
        self.0.may_fail()
    }

    /// A new line; none while nobody is at its other end.
    pub fn open(&self) -> Option<DuplexStream> {
        let (centre, owner) = self.0.centre_at_work()?;
        let (ours, theirs) = tokio::io::duplex(PIPE);
        let agreed = [RAIL, SHOPS_AND_BUSES].map(|operator| (operator.to_owned(), frame_key()));
        self.0.spawn_for(owner, async move {
            let _ = serve_line(&centre, theirs, BTreeMap::from(agreed)).await;
        });
        Some(ours)
    }
}

/// The MAC of frames, with the key that operators and centre have agreed.
pub struct LineMac(pub SoftwareKeyService);

impl FrameMac for LineMac {
    fn mac(&self, covered: &[u8]) -> Result<[u8; 8], MacError> {
        self.0.frame_mac(&keys::frame_key(), covered).map_err(|error| MacError(error.to_string()))
    }
}

/// A line that breaks after so many bytes of ours, if it does.
pub struct Cut<S> {
    line: S,
    left: Option<usize>,
}

impl<S> Cut<S> {
    /// A line that breaks after `left` bytes, or never.
    pub const fn new(line: S, left: Option<usize>) -> Self {
        Self { line, left }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Cut<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.line).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Cut<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let most = self.left.unwrap_or(bytes.len()).min(bytes.len());
        if most == 0 && !bytes.is_empty() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let written = ready!(Pin::new(&mut self.line).poll_write(context, &bytes[..most]))?;
        self.left = self.left.map(|left| left - written);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.line).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.line).poll_shutdown(context)
    }
}
