//! Bodies between hyper and the doors.

use std::{
    future::Future as _,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use funaya_oci::Content;
use funaya_registry::{Body, BodyError, Error};
use futures_util::Stream;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::{sync::oneshot, time::Sleep};

/// A client that sends nothing for so long is given up.
const IDLE_MAX: Duration = Duration::from_secs(60);
/// What is read of a refused request, so that its client gets to read the answer.
const DRAINED_MAX: usize = 4 * 1024 * 1024;
const DRAIN_MAX: Duration = Duration::from_secs(2);

/// A request's body as a stream of its bytes, and what will be left of it.
pub(crate) fn incoming(body: Incoming) -> (Body, Leftover) {
    let (back, leftover) = oneshot::channel();
    let reading = Reading { body: Some(body), idle: None, back: Some(back) };
    (Box::pin(reading), Leftover(leftover))
}

struct Reading {
    body: Option<Incoming>,
    /// Runs only while the client is waited for.
    idle: Option<Pin<Box<Sleep>>>,
    back: Option<oneshot::Sender<Incoming>>,
}

impl Stream for Reading {
    type Item = Result<Bytes, BodyError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let reading = &mut *self;
        loop {
            let Some(body) = &mut reading.body else { return Poll::Ready(None) };
            let Poll::Ready(frame) = Pin::new(body).poll_frame(cx) else {
                let idle = reading.idle.get_or_insert_with(|| Box::pin(tokio::time::sleep(IDLE_MAX)));
                ready!(idle.as_mut().poll(cx));
                reading.body = None;
                return Poll::Ready(Some(Err(BodyError)));
            };
            reading.idle = None;
            match frame {
                // Trailers say nothing that we use.
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(bytes) => return Poll::Ready(Some(Ok(bytes))),
                    Err(_) => continue,
                },
                Some(Err(_)) => {
                    reading.body = None;
                    return Poll::Ready(Some(Err(BodyError)));
                }
                None => {
                    reading.body = None;
                    return Poll::Ready(None);
                }
            }
        }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        if let (Some(body), Some(back)) = (self.body.take(), self.back.take()) {
            // Nobody waits for it: the connection ends with the request.
            let _ = back.send(body);
        }
    }
}

/// The part of a request's body that no door has read.
pub(crate) struct Leftover(oneshot::Receiver<Incoming>);

impl Leftover {
    /// Reads a little of it. A client that is still sending when its connection is
    /// closed often never sees why it was refused.
    pub(crate) async fn drain(mut self) {
        let Ok(mut body) = self.0.try_recv() else { return };
        let read = async {
            let mut drained = 0;
            while let Some(Ok(frame)) = body.frame().await {
                drained += frame.data_ref().map_or(0, Bytes::len);
                if drained > DRAINED_MAX {
                    return;
                }
            }
        };
        // Whatever came in time is enough.
        let _ = tokio::time::timeout(DRAIN_MAX, read).await;
    }
}

/// An answer's body.
pub(crate) struct Outgoing(Content);

impl From<Content> for Outgoing {
    fn from(content: Content) -> Self {
        Self(content)
    }
}

impl HttpBody for Outgoing {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match &mut self.0 {
            Content::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Content::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Content::Pieces(pieces) => pieces.as_mut().poll_next(cx).map(|piece| {
                piece.map(|piece| {
                    piece
                        .map(Frame::data)
                        .inspect_err(|error| tracing::error!(cause = %error.detail(), "an answer was cut off"))
                })
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.0, Content::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Content::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            // The header says how many.
            Content::Pieces(_) => SizeHint::default(),
        }
    }
}
