//! The raw heads of requests on an HTTP/1.1 connection.
//!
//! hyper drops `Content-Length` where `Transfer-Encoding` stands beside it, as RFC 9112,
//! section 6.1 allows. Such a request is how another one is smuggled past a proxy, so it is
//! refused; only the bytes as they came still show it.

use std::{
    io::{IoSlice, Result},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What has been read of a connection since its last request was answered.
#[derive(Clone)]
pub(crate) struct Heads(Arc<Mutex<Window>>);

struct Window {
    bytes: Vec<u8>,
    /// Off while a body is read.
    open: bool,
    bytes_max: usize,
}

impl Heads {
    /// Keeps heads of up to this many bytes.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self(Arc::new(Mutex::new(Window { bytes: Vec::new(), open: true, bytes_max })))
    }

    /// Whether the head that was just read has one clear length. To be asked once for each request.
    pub(crate) fn length_is_clear(&self, headers: &http::HeaderMap) -> bool {
        let mut window = self.window();
        window.open = false;
        let head = std::mem::take(&mut window.bytes);
        drop(window);
        !headers.contains_key(http::header::TRANSFER_ENCODING) || names_no_length(&head)
    }

    /// A request is answered: the next bytes are a head.
    pub(crate) fn answered(&self) {
        self.window().open = true;
    }

    fn window(&self) -> MutexGuard<'_, Window> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether these bytes hold a whole head without `Content-Length`. Of a head that came in the
/// wake of an earlier request's body only a part was seen: that is none.
fn names_no_length(bytes: &[u8]) -> bool {
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let line = line.trim_ascii_end();
        let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
        if line.is_empty() {
            return true;
        }
        if name.eq_ignore_ascii_case(b"content-length") {
            return false;
        }
    }
    false
}

/// A stream that shows [`Heads`] what is read from it.
pub(crate) struct Watched<S> {
    stream: S,
    heads: Heads,
}

impl<S> Watched<S> {
    pub(crate) fn new(stream: S, heads: Heads) -> Self {
        Self { stream, heads }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        let mut window = self.heads.window();
        if window.open {
            let room = window.bytes_max.saturating_sub(window.bytes.len());
            let new = &buf.filled()[before..];
            window.bytes.extend_from_slice(&new[..new.len().min(room)]);
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
